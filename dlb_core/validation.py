"""Check an uploaded image's header and length, without reading its voxels into memory.

The header comes first; it says how many bytes must follow, and a compressed file is inflated
only up to there, so that a small file that unpacks to gigabytes is refused in milliseconds.
Where the header is ambiguous about where the voxels lie, the image is refused: a guess would
put the masks in the wrong place.

Light on purpose: the service calls this on every upload.

Source: the NIfTI-1 and NIfTI-2 definitions, https://nifti.nimh.nih.gov.
"""

import gzip
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from dlb_core.errors import GeometryAmbiguous, GridMismatch, ImplausibleImage, UnreadableImage
from dlb_core.volume import Affine, Shape

_MIN_SLICES = 10
_MAX_VOXELS = 512**3
_VOXEL_SIZES_MM = (0.2, 10.0)
_MIN_EXTENTS_MM = (80.0, 110.0, 110.0)
"""Shortest, middle and longest side of a field of view that can hold a brain."""
_MAX_DISAGREEMENT_MM = 0.5
"""Two transforms of one header may place a corner of the image this far apart."""
_MAX_SHEAR = 1e-3
"""Cosine between two axes: a quarter of a millimetre over a head."""
_MIN_OVERLAP = 0.2
"""Of the smaller field of view."""

_QFORM_FIELDS = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
_HEADER_BYTES = 544
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class ImageFacts:
    """What a header says about an image that passed the checks."""

    shape: Shape
    voxel_sizes: tuple[float, float, float]
    """mm along each array axis."""
    orientation: str
    """Axis codes, e.g. LPS."""
    affine: Affine
    """(4, 4), voxel index -> world mm, RAS+."""


def check_header(path: Path, *, role: str) -> ImageFacts:
    """Check one image file: header, geometry and exact length.

    Parameters
    ----------
    path : Path
        NIfTI-1 or NIfTI-2, single file, plain or gzipped whatever its name says.
    role : str
        "T1w" or "FLAIR", for the messages.

    Raises
    ------
    UnreadableImage
        Not a NIfTI file, or its bytes are fewer or more than the header says.
    GeometryAmbiguous
        The header does not say, or says twice and differently, where the voxels lie.
    ImplausibleImage
        It cannot be a usable brain scan.
    """
    header = read_header(path, role=role)
    shape = _check_shape(header, role)
    _check_datatype(header, role)
    affine = _affine(header, role)
    sizes = _check_geometry(affine, shape, role)
    _check_length(path, header, role)
    orientation = "".join(str(code) for code in nib.aff2axcodes(affine))
    return ImageFacts(shape, sizes, orientation, affine)


def check_pair(t1w: ImageFacts, flair: ImageFacts) -> None:
    """Check that the two images show the same part of space.

    Raises
    ------
    GridMismatch
        Their fields of view hardly overlap.
    """
    overlap = max(_share_inside(t1w, flair), _share_inside(flair, t1w))
    if overlap < _MIN_OVERLAP:
        raise GridMismatch(
            f"T1w and FLAIR share only {overlap:.0%} of their field of view: send two images of "
            "one session whose headers refer to the same scanner space."
        )


@contextmanager
def open_image(path: Path) -> Iterator[BinaryIO]:
    """Open a file for reading, inflating it if its first bytes say that it is gzipped."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if zipped:
            with gzip.GzipFile(fileobj=file, mode="rb") as inflated:
                yield cast(BinaryIO, inflated)
        else:
            yield file


def read_header(path: Path, *, role: str) -> Any:
    """The nibabel header of a single-file NIfTI image, of either version.

    Raises
    ------
    UnreadableImage
        There is none.
    """
    start = _read_start(path, role)
    if len(start) >= 348 and start[344:348] == b"n+1\0" and _declares(start, 348):
        return _with_intercept(nib.Nifti1Header(start[:348], check=False))
    if len(start) >= 540 and start[4:8] == b"n+2\0" and _declares(start, 540):
        return _with_intercept(nib.Nifti2Header(start[:540], check=False))
    raise UnreadableImage(f"The {role} is not a NIfTI file (.nii or .nii.gz){_hint(start)}.")


def _with_intercept(header: Any) -> Any:
    """Some writers leave an unused intercept as NaN; every reader but nibabel takes it as 0."""
    if np.isfinite(header["scl_slope"]) and np.isnan(header["scl_inter"]):
        header["scl_inter"] = 0
    return header


def _declares(start: bytes, size: int) -> bool:
    """Whether the header states its own size, in either byte order."""
    return size in (int.from_bytes(start[:4], "little"), int.from_bytes(start[:4], "big"))


def _read_start(path: Path, role: str) -> bytes:
    try:
        with open_image(path) as file:
            return file.read(_HEADER_BYTES)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(role) from error


def _hint(start: bytes) -> str:
    """What else the file may be, and what to do."""
    if start[128:132] == b"DICM":
        return ": it is one DICOM file; send the whole series as a zip, or convert it with dcm2niix"
    if start[344:347] == b"ni1" or start[4:7] == b"ni2":
        return ": it is one half of an .hdr/.img pair; save it as a single .nii.gz"
    if not start:
        return ": it is empty; send it again"
    return "; convert it, with dcm2niix or nibabel for example"


def _damaged(role: str) -> UnreadableImage:
    return UnreadableImage(
        f"The {role} is a damaged or cut-off gzip file: copy or compress it again, and re-send."
    )


def _check_shape(header: Any, role: str) -> Shape:
    shape = tuple(int(n) for n in header.get_data_shape())
    if len(shape) < 3 or math.prod(shape[3:]) != 1:
        raise ImplausibleImage(
            f"The {role} has dimensions {_times(shape)}, one 3D volume is needed: "
            "extract a single volume."
        )
    i, j, k = shape[:3]
    if min(i, j, k) < _MIN_SLICES:
        raise ImplausibleImage(
            f"The {role} has only {min(i, j, k)} slices ({_times((i, j, k))} voxels), at least "
            f"{_MIN_SLICES} are needed: send the whole-brain series, not a localiser."
        )
    if i * j * k > _MAX_VOXELS:
        raise ImplausibleImage(
            f"The {role} has {_times((i, j, k))} voxels, more than any brain scan needs: "
            "resample it to 0.5 mm or coarser."
        )
    return i, j, k


def _check_datatype(header: Any, role: str) -> None:
    try:
        dtype = header.get_data_dtype()
        header.get_slope_inter()
    except (nib.spatialimages.HeaderDataError, KeyError) as error:
        raise UnreadableImage(
            f"The {role}'s header has an unknown data type or an unusable scaling (scl_slope, "
            "scl_inter): save it again as float32."
        ) from error
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise ImplausibleImage(
            f"The {role} holds {'colours' if dtype.kind == 'V' else dtype.name} values, one "
            "real number a voxel is needed: save the magnitude image as float32."
        )


def _affine(header: Any, role: str) -> Affine:
    """The one transform that the header gives, or gives twice alike."""
    qform, sform = _qform(header, role), _sform(header, role)
    if qform is None and sform is None:
        raise GeometryAmbiguous(
            f"The {role}'s header says nothing about where the voxels lie (qform and sform are "
            "both unset): convert it again from DICOM, with dcm2niix for example."
        )
    shape = header.get_data_shape()[:3]
    if qform is not None and sform is not None:
        distance = _largest_distance(qform, sform, shape)
        if not distance <= _MAX_DISAGREEMENT_MM:
            raise GeometryAmbiguous(
                f"The {role}'s qform and sform disagree by up to {distance:.1f} mm: copy the "
                "right one over the other (fslorient -copysform2qform or -copyqform2sform), or "
                "convert the image again from DICOM."
            )
    if sform is None:
        assert qform is not None  # one of them is given, see above
        return qform
    _check_pixdim(header, sform, shape, role)
    return sform


def _qform(header: Any, role: str) -> Affine | None:
    if int(header["qform_code"]) <= 0:
        return None
    _require_numbers([header[name] for name in _QFORM_FIELDS], role)
    _require_numbers(header["pixdim"][:4], role)
    try:
        qform: Affine = header.get_qform()
    except (nib.spatialimages.HeaderDataError, ValueError) as error:
        raise GeometryAmbiguous(
            f"The {role}'s qform is not a rotation: convert the image again from DICOM."
        ) from error
    return qform


def _sform(header: Any, role: str) -> Affine | None:
    if int(header["sform_code"]) <= 0:
        return None
    sform: Affine = header.get_sform().astype(np.float64)
    _require_numbers(sform, role)
    return sform


def _require_numbers(values: Any, role: str) -> None:
    """Refuse infinities and NaN before anything is computed with them."""
    if not np.isfinite(values).all():
        raise GeometryAmbiguous(
            f"The {role}'s affine holds values that are not numbers: convert the image again."
        )


def _check_pixdim(header: Any, sform: Affine, shape: Shape, role: str) -> None:
    """Refuse voxel sizes that the header states twice and differently."""
    stated = np.abs(np.asarray(header["pixdim"][1:4], dtype=np.float64))
    sizes = np.linalg.norm(sform[:3, :3], axis=0)
    if not (np.abs(stated - sizes) * shape <= _MAX_DISAGREEMENT_MM).all():
        raise GeometryAmbiguous(
            f"The {role}'s header gives the voxel size as {_times(stated)} mm (pixdim) and as "
            f"{_times(sizes)} mm (sform): convert the image again from DICOM."
        )


def _largest_distance(first: Affine, second: Affine, shape: Shape) -> float:
    """How far apart, in mm, two affines place a voxel: a corner is always the worst."""
    corners = np.array([(*corner, 1) for corner in product(*((0, n - 1) for n in shape))])
    difference = corners @ (first - second).T
    return float(np.linalg.norm(difference[:, :3], axis=1).max())


def _check_geometry(affine: Affine, shape: Shape, role: str) -> tuple[float, float, float]:
    """Voxel sizes in mm, after all that could be wrong with them."""
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    low, high = _VOXEL_SIZES_MM
    if (sizes < low).any() or (sizes > high).any():
        raise ImplausibleImage(
            f"The {role}'s voxels are {_times(sizes)} mm, {low} to {high} mm are usable: check "
            "the header's units (mm) and voxel sizes."
        )
    axes = affine[:3, :3] / sizes
    if np.abs(axes.T @ axes - np.eye(3)).max() > _MAX_SHEAR:
        raise ImplausibleImage(
            f"The {role}'s axes are not at right angles (gantry tilt, or an affine transform "
            "in the header): resample the image onto an orthogonal grid."
        )
    extents = np.sort(sizes * shape)
    if (extents < _MIN_EXTENTS_MM).any():
        raise ImplausibleImage(
            f"The {role}'s field of view is {_times(sizes * shape)} mm, too small for a brain: "
            "send the whole-brain series."
        )
    return float(sizes[0]), float(sizes[1]), float(sizes[2])


def _check_length(path: Path, header: Any, role: str) -> None:
    """Compare the file's length after inflation with what the header asks for."""
    stated = float(header["vox_offset"])
    offset = int(stated) if np.isfinite(stated) else 0
    if offset < len(header.binaryblock) or offset > path.stat().st_size + _CHUNK:
        raise UnreadableImage(
            f"The {role}'s header has its voxels start at byte {offset}: save the image again."
        )
    values = math.prod(int(n) for n in header.get_data_shape())
    expected = offset + values * header.get_data_dtype().itemsize
    actual = _length_up_to(path, expected + 1, role)
    if actual != expected:
        found = f"{actual}" if actual < expected else f"more than {expected}"
        raise UnreadableImage(
            f"The {role} holds {found} bytes where its header asks for {expected}: the file is "
            "damaged or cut off, copy or convert it again."
        )


def _length_up_to(path: Path, limit: int, role: str) -> int:
    """Bytes in the file after inflation, counted no further than `limit`."""
    length = 0
    try:
        with open_image(path) as file:
            while length < limit:
                chunk = file.read(min(_CHUNK, limit - length))
                if not chunk:
                    break
                length += len(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(role) from error
    return length


def _share_inside(first: ImageFacts, second: ImageFacts) -> float:
    """Share of the first image's field of view that lies in the second's."""
    steps = np.linspace(0, 1, 15)
    index = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    index = index * (np.array(first.shape) - 1)
    to_second = np.linalg.inv(second.affine) @ first.affine
    moved = index @ to_second[:3, :3].T + to_second[:3, 3]
    inside = (moved >= -0.5) & (moved <= np.array(second.shape) - 0.5)
    return float(inside.all(axis=1).mean())


def _times(numbers: NDArray[Any] | tuple[int, ...]) -> str:
    """ "256 x 256 x 48" """
    return " x ".join(f"{number:.4g}" for number in numbers)
