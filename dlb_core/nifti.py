"""Read NIfTI files into volumes, and write volumes as NIfTI files.

Written files land whole or not at all, carry no text from the input's header (it may name the
patient), and the same data gives the same bytes.
"""

import gzip
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
from numpy.typing import DTypeLike, NDArray

from dlb_core.artefacts import whole_file
from dlb_core.errors import ImplausibleImage
from dlb_core.template import MNI_GRID
from dlb_core.validation import check_header, open_image, read_header
from dlb_core.volume import Volume

_SCANNER, _MNI152 = 1, 4
"""NIfTI's codes of the two spaces."""

_GEOMETRY_FIELDS = (
    "qform_code",
    "sform_code",
    "quatern_b",
    "quatern_c",
    "quatern_d",
    "qoffset_x",
    "qoffset_y",
    "qoffset_z",
    "srow_x",
    "srow_y",
    "srow_z",
)


def read_volume(path: Path, *, role: str) -> Volume:
    """Read one brain scan, checked.

    Parameters
    ----------
    path : Path
        NIfTI-1 or NIfTI-2, plain or gzipped.
    role : str
        "T1w" or "FLAIR", for the messages.

    Returns
    -------
    Volume
        float32, in the file's own axes, with the header's scaling applied.

    Raises
    ------
    UnreadableImage, GeometryAmbiguous, ImplausibleImage
        See `validation.check_header`; and values that are not finite, or all the same.
    """
    volume = read_values(path, role=role)
    data = volume.data
    if data.min() == data.max():
        raise ImplausibleImage(
            f"The {role} is empty, all its voxels hold {data.flat[0]:g}: send the scan itself."
        )
    return volume


def read_mask(path: Path, *, role: str) -> Volume:
    """Read a mask, which may be empty: float32, 1 where the file holds more than 0.5, else 0.

    Raises
    ------
    UnreadableImage, GeometryAmbiguous, ImplausibleImage
        See `validation.check_header`; and values that are not finite.
    """
    volume = read_values(path, role=role)
    return Volume((volume.data > 0.5).astype(np.float32), volume.affine)


def read_values(path: Path, *, role: str) -> Volume:
    """Read whatever a file holds, masks and label images too: float32, scaled, maybe all zero.

    Raises
    ------
    UnreadableImage, GeometryAmbiguous, ImplausibleImage
        See `validation.check_header`; and values that are not finite.
    """
    facts = check_header(path, role=role)
    data = _read_array(path, role).reshape(facts.shape)
    bad = int(data.size - np.isfinite(data).sum())
    if bad:
        raise ImplausibleImage(
            f"The {role} holds {bad} voxels that are not finite numbers: replace them by zero."
        )
    return Volume(data, facts.affine)


def write_volume(path: Path, volume: Volume, *, dtype: DTypeLike, description: str = "") -> None:
    """Write a volume, gzipped if the name ends in .gz; qform and sform say the same.

    Parameters
    ----------
    path : Path
        Replaced whole.
    volume : Volume
        Where its grid is `MNI_GRID` the header says MNI152, else scanner space. The affine
        must not shear.
    dtype : dtype
        How values are stored; floats are rounded for an integer type, which must hold them.
    description : str
        Up to 79 ASCII characters for the header.
    """
    header = nib.Nifti1Header()
    header.set_data_shape(volume.data.shape)
    code = _MNI152 if _is_mni(volume) else _SCANNER
    header.set_qform(volume.affine, code=code)
    header.set_sform(volume.affine, code=code)
    header.set_xyzt_units("mm")
    header["descrip"] = description.encode("ascii")[:79]
    _write(path, header, volume.data, dtype)


def write_like(
    path: Path, data: NDArray[Any], reference_path: Path, *, dtype: DTypeLike, role: str = "input"
) -> None:
    """Write an array with the shape and the geometry of an input file.

    Parameters
    ----------
    path : Path
        Replaced whole; gzipped if the name ends in .gz.
    data : (I, J, K)
        On the reference's voxels.
    reference_path : Path
        The input file: shape, qform, sform and their codes are copied as they are.
    dtype : dtype
        How values are stored; floats are rounded for an integer type, which must hold them.
    role : str
        "T1w" or "FLAIR", should the reference be unreadable.

    Raises
    ------
    UnreadableImage
        The reference is not a NIfTI file.
    """
    reference = read_header(reference_path, role=role)
    header = type(reference)()
    shape = reference.get_data_shape()
    header.set_data_shape(shape)
    for field in _GEOMETRY_FIELDS:
        header[field] = reference[field]
    header["pixdim"][:4] = reference["pixdim"][:4]
    header.set_xyzt_units("mm")
    _write(path, header, data.reshape(shape), dtype)


def _read_array(path: Path, role: str) -> NDArray[np.float32]:
    """The voxels, scaled as the header says."""
    header = read_header(path, role=role)
    with open_image(path) as file:
        file.seek(int(header["vox_offset"]))
        content = file.read()
    raw = np.frombuffer(content, dtype=header.get_data_dtype())
    stored = raw.reshape(header.get_data_shape(), order="F")
    slope, intercept = header.get_slope_inter()
    scaled = nib.volumeutils.apply_read_scaling(stored, slope, intercept)
    with np.errstate(over="ignore"):  # too large for float32 is found as not finite
        return np.ascontiguousarray(scaled, dtype=np.float32)


def _is_mni(volume: Volume) -> bool:
    same_shape = volume.data.shape == MNI_GRID.shape
    return same_shape and np.allclose(volume.affine, MNI_GRID.affine)


def _write(path: Path, header: Any, data: NDArray[Any], dtype: DTypeLike) -> None:
    header.set_data_dtype(dtype)
    # The four bytes after the header say that no extension follows.
    header["vox_offset"] = len(header.binaryblock) + 4
    stored = _stored_as(data, np.dtype(dtype))
    with whole_file(path) as file:
        if path.name.endswith(".gz"):
            # Neither name nor time in the gzip header: same data, same bytes.
            with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as zipped:
                _write_parts(cast(BinaryIO, zipped), header, stored)
        else:
            _write_parts(file, header, stored)


def _write_parts(file: BinaryIO, header: Any, data: NDArray[Any]) -> None:
    file.write(header.binaryblock)
    file.write(bytes(4))
    file.write(data.tobytes(order="F"))


def _stored_as(data: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind in "iu" and data.dtype.kind == "f":
        data = np.rint(data)
    if dtype.kind in "iu" and data.size and data.dtype.kind != "b":
        limits = np.iinfo(dtype)
        assert limits.min <= data.min(), f"{dtype} is too narrow"
        assert data.max() <= limits.max, f"{dtype} is too narrow"
    return data.astype(dtype)
