"""The ICBM152 2009a symmetric template on the 1 mm grid that the networks know.

The files ship inside the nilearn wheel and are read from there, without importing nilearn:
nothing is copied, nothing is downloaded (docs/decisions/template.md). Each file's digest
is checked, since a template of another version would shift every mask.

Arrays are indexed (i, j, k), RAS. The template is skull-stripped.

Source: Fonov et al., NeuroImage 54 (2011) 313-327.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dlb_core.errors import TemplateCorrupt
from dlb_core.volume import Grid, Mask, Volume


def _translation(x: float, y: float, z: float) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, 3] = x, y, z
    return affine


MNI_GRID = Grid((181, 217, 181), _translation(-90, -126, -72))
"""x -90..90, y -126..90, z -72..108 mm; voxel 90 in x is the mid-sagittal plane."""

_FILE_SHAPE = (197, 233, 189)
_FILE_AFFINE = _translation(-98, -134, -72)
_CROP = (slice(8, 189), slice(8, 225), slice(0, 181))

_SHA256 = {
    "t1": "421a10e872fd6cadae7f61d358dffbcc1795a497d61ee76c5dda2503e1a1e9e6",
    "gm": "97a5ca69bd24db37a9cb7b32525e1733a209af904129bf1cd36da06d24243bed",
    "wm": "382d92812de4744f9c86c7a0e4f680dc317a0a50e4da1f0153618a6798c7b7db",
}

_BRAIN_THRESHOLD = 0.2
"""Of the T1w's maximum; the same level as the geometry of the subvolumes is checked with."""


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """The template's arrays, all on `MNI_GRID`."""

    t1w: NDArray[np.float32]
    """In [0, 1], zero outside the brain."""
    grey_matter: NDArray[np.float32]
    """Probability, in [0, 1]."""
    white_matter: NDArray[np.float32]
    """Probability, in [0, 1]."""
    brain_mask: Mask


@cache
def load_template() -> Template:
    """The installed template; its arrays are shared by all callers, and read-only.

    Raises
    ------
    TemplateCorrupt
        A file is missing or is not the one we know.
    """
    return read_template(_installed_folder())


def read_template(folder: Path) -> Template:
    """Read T1w and tissue maps from a folder, checked, and cut them to `MNI_GRID`.

    Raises
    ------
    TemplateCorrupt
        A file is missing or is not the one we know.
    """
    t1w = _read(folder, "t1")
    brain_mask = ndimage.binary_fill_holes(t1w > _BRAIN_THRESHOLD)
    brain_mask.setflags(write=False)
    return Template(t1w, _read(folder, "gm"), _read(folder, "wm"), brain_mask)


@cache
def load_coarse_t1w() -> Volume:
    """The template's T1w at 2 mm, for registration: means of 2 x 2 x 2 voxels."""
    blocks = load_template().t1w[:180, :216, :180].reshape(90, 2, 108, 2, 90, 2)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    # The first block's centre lies half a fine voxel from the first fine voxel's.
    affine[:3, 3] = MNI_GRID.affine[:3, 3] + 0.5
    return Volume(blocks.mean(axis=(1, 3, 5)), affine)


def _read(folder: Path, kind: str) -> NDArray[np.float32]:
    """One of the template's files, cropped to `MNI_GRID`, scaled to [0, 1]."""
    path = folder / f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TemplateCorrupt(
            f"The template's {kind} file is missing: reinstall nilearn 0.14.1."
        ) from error
    if hashlib.sha256(content).hexdigest() != _SHA256[kind]:
        raise TemplateCorrupt(
            f"The template's {kind} file is not the known one: reinstall nilearn 0.14.1."
        )
    image = nib.Nifti1Image.from_filename(path)
    if image.shape != _FILE_SHAPE or not np.array_equal(image.affine, _FILE_AFFINE):
        raise TemplateCorrupt(f"The template's {kind} file lies on an unknown grid.")
    data = np.asarray(image.dataobj, dtype=np.float32)[_CROP] / np.float32(255)
    data.setflags(write=False)
    return data


def _installed_folder() -> Path:
    """Where nilearn keeps its data, found without importing it."""
    spec = find_spec("nilearn")
    if spec is None or spec.origin is None:
        raise TemplateCorrupt("nilearn, which ships the template, is missing: install it.")
    return Path(spec.origin).parent / "datasets" / "data"
