"""Small images and NIfTI files for tests of everything that reads or moves images."""

from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from dlb_core.resampling import resample
from dlb_core.template import MNI_GRID, load_template
from dlb_core.volume import Affine, Grid, Shape, Volume

SHAPE = (24, 30, 26)
VOXEL_MM = 6.0
"""A field of view of 144 x 180 x 156 mm in few voxels."""
BRAIN_CENTRE = (0, -18, 8, 1)
"""MNI mm."""


def rigid(
    angles_deg: tuple[float, float, float] = (0, 0, 0),
    shift_mm: tuple[float, float, float] = (0, 0, 0),
) -> Affine:
    """World mm -> world mm: rotate about the origin, then shift."""
    transform = np.eye(4)
    transform[:3, :3] = Rotation.from_euler("xyz", angles_deg, degrees=True).as_matrix()
    transform[:3, 3] = shift_mm
    return transform


def centred_affine(shape: Shape = SHAPE, voxel_mm: float = VOXEL_MM) -> Affine:
    """RAS+, world origin in the middle."""
    affine = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    affine[:3, 3] = -voxel_mm * (np.array(shape) - 1) / 2
    return affine


def oblique_affine() -> Affine:
    """Axes nearest to L, P, S, tilted, off the origin."""
    return rigid((8, -5, 12), (30, -20, 10)) @ np.diag([-1.0, -1.0, 1.0, 1.0]) @ centred_affine()


def ramp(shape: tuple[int, ...] = SHAPE) -> NDArray[np.int16]:
    """Every voxel different from its neighbours, some of them negative."""
    return (np.arange(np.prod(shape)).reshape(shape) % 3000 - 500).astype(np.int16)


def write_image(
    path: Path,
    data: NDArray | None = None,
    *,
    qform: Affine | None = None,
    sform: Affine | None = None,
    kind: type = nib.Nifti1Image,
    description: bytes = b"",
) -> Path:
    """Write a NIfTI file with exactly these forms; one that is None has code 0."""
    header = kind.header_class()
    data = ramp() if data is None else data
    image = kind(data, None, header)
    image.set_data_dtype(data.dtype)
    image.set_qform(qform, code=1 if qform is not None else 0)
    image.set_sform(sform, code=1 if sform is not None else 0)
    image.header["descrip"] = description
    if qform is None and sform is not None:
        image.header["pixdim"][1:4] = np.linalg.norm(sform[:3, :3], axis=0)
    image.to_filename(path)
    return path


def plain_image(path: Path, affine: Affine | None = None, **options: object) -> Path:
    """An image whose two forms agree."""
    affine = oblique_affine() if affine is None else affine
    return write_image(path, qform=affine, sform=affine, **options)  # type: ignore[arg-type]


def template_scan(to_mni: Affine, *, voxel_mm: float = 2.0, flair: bool = False) -> Volume:
    """The template's brain as somebody's stripped scan, in their own oblique space, in mid-field.

    Parameters
    ----------
    to_mni : (4, 4)
        The person's world mm -> MNI world mm.
    voxel_mm : float
        Isotropic.
    flair : bool
        Contrast of a FLAIR (grey matter above white, dark fluid) instead of a T1w.
    """
    side = int(np.ceil(230 / voxel_mm))
    affine = centred_affine((side, side, side), voxel_mm)
    affine[:3, 3] += (np.linalg.inv(to_mni) @ BRAIN_CENTRE)[:3]
    grid = Grid((side, side, side), affine)
    image = Volume(flair_contrast() if flair else load_template().t1w, MNI_GRID.affine)
    data = resample(image, grid, np.linalg.inv(to_mni))
    brain = Volume(load_template().brain_mask.astype(np.float32), MNI_GRID.affine)
    inside = resample(brain, grid, np.linalg.inv(to_mni)) >= 0.5
    return Volume(np.where(inside, 400 * data, 0).astype(np.float32), grid.affine)


def flair_contrast() -> NDArray[np.float32]:
    """A FLAIR made of the template's tissue maps, white matter at 1, on `MNI_GRID`."""
    template = load_template()
    fluid = np.clip(1 - template.white_matter - template.grey_matter, 0, 1)
    image = template.white_matter + 1.15 * template.grey_matter + 0.3 * fluid
    return np.where(template.brain_mask, image, 0).astype(np.float32)
