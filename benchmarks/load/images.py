"""Pairs of any size that pass for brain scans."""

from pathlib import Path

import numpy as np

from dlb_core.nifti import write_volume
from dlb_core.volume import Volume

MB = 1_000_000
FIELD_OF_VIEW_MM = 220.0


def write_pair(folder: Path, megabytes: float) -> tuple[Path, Path]:
    """Two cubes of noise, so many megabytes each, not compressed."""
    side = round((megabytes * MB / 4) ** (1 / 3))
    noise = np.random.default_rng(1).random((side, side), dtype=np.float32) + 1
    data = np.repeat(noise[..., None], side, axis=2)
    voxel_mm = FIELD_OF_VIEW_MM / side
    volume = Volume(data, np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0]))
    paths = folder / f"{megabytes:g}MB-T1w.nii", folder / f"{megabytes:g}MB-FLAIR.nii"
    for path in paths:
        write_volume(path, volume, dtype=np.float32)
    return paths
