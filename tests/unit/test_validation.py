"""Header checks: what is refused, why, and in which words."""

import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dlb_core.errors import (
    DlbError,
    GeometryAmbiguous,
    GridMismatch,
    ImplausibleImage,
    UnreadableImage,
)
from dlb_core.nifti import read_volume
from dlb_core.validation import ImageFacts, check_header, check_pair
from tests.unit.images import (
    SHAPE,
    VOXEL_MM,
    centred_affine,
    oblique_affine,
    plain_image,
    ramp,
    rigid,
    write_image,
)


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_sound_image_is_accepted(tmp_path: Path, name: str, kind: type) -> None:
    """Both versions of NIfTI, plain or compressed, with the facts as written."""
    facts = check_header(plain_image(tmp_path / name, kind=kind), role="T1w")

    assert facts.shape == SHAPE
    assert facts.orientation == "LPS"
    assert facts.voxel_sizes == pytest.approx((VOXEL_MM, VOXEL_MM, VOXEL_MM))
    np.testing.assert_allclose(facts.affine, oblique_affine(), atol=1e-4)


def test_compression_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    """Uploads are stored under names of ours, and users misname files."""
    written = plain_image(tmp_path / "scan.nii.gz")

    facts = check_header(written.rename(tmp_path / "upload.nii"), role="T1w")

    assert facts.shape == SHAPE


def test_big_endian_images_are_accepted(tmp_path: Path) -> None:
    """Old scanners and converters wrote them."""
    image = nib.Nifti1Image(ramp(), None, nib.Nifti1Header(endianness=">"))
    image.set_qform(oblique_affine(), code=1)
    image.set_sform(oblique_affine(), code=1)
    image.to_filename(tmp_path / "scan.nii")

    assert check_header(tmp_path / "scan.nii", role="T1w").shape == SHAPE


@pytest.mark.parametrize("given", ["qform", "sform"])
def test_the_only_coded_form_is_used(tmp_path: Path, given: str) -> None:
    """A form with code 0 says nothing, whatever numbers it holds."""
    path = write_image(tmp_path / "scan.nii", **{given: oblique_affine()})

    facts = check_header(path, role="T1w")

    np.testing.assert_allclose(facts.affine, oblique_affine(), atol=1e-4)


@pytest.mark.parametrize("shift_mm", [1.0, 126.0])
def test_forms_that_disagree_are_refused(tmp_path: Path, shift_mm: float) -> None:
    """Tools differ in which form they believe: a guess puts masks in the wrong place."""
    path = write_image(
        tmp_path / "scan.nii",
        qform=oblique_affine(),
        sform=rigid(shift_mm=(shift_mm, 0, 0)) @ oblique_affine(),
    )

    with pytest.raises(GeometryAmbiguous, match=rf"disagree by up to {shift_mm}"):
        check_header(path, role="T1w")


def test_a_form_that_flips_an_axis_is_refused(tmp_path: Path) -> None:
    """The same box in space, left and right exchanged: no shift would show it."""
    affine = centred_affine()
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])

    with pytest.raises(GeometryAmbiguous, match="qform and sform disagree"):
        check_header(
            write_image(tmp_path / "scan.nii", qform=affine, sform=flip @ affine), role="FLAIR"
        )


def test_rounding_between_the_forms_is_tolerated(tmp_path: Path) -> None:
    """The quaternion of a qform rounds; a tenth of a millimetre moves no mask."""
    path = write_image(
        tmp_path / "scan.nii",
        qform=oblique_affine(),
        sform=rigid(shift_mm=(0.1, 0, 0)) @ oblique_affine(),
    )

    assert check_header(path, role="T1w").shape == SHAPE


def _no_form(path: Path) -> Path:
    return write_image(path)


def _wrong_pixdim(path: Path) -> Path:
    image = nib.load(write_image(path, sform=oblique_affine()), mmap=False)
    image.header["pixdim"][1:4] = 1
    nib.Nifti1Image(image.dataobj, None, image.header).to_filename(path)
    return path


def _sheared(path: Path) -> Path:
    shear = np.eye(4)
    shear[0, 2] = 0.2
    return write_image(path, sform=shear @ centred_affine())


def _not_a_number(path: Path) -> Path:
    affine = centred_affine()
    path = write_image(path, sform=affine)
    content = bytearray(path.read_bytes())
    content[280:284] = np.float32(np.nan).tobytes()  # srow_x[0]
    path.write_bytes(content)
    return path


def _data(path: Path, data: np.ndarray, voxel_mm: float = VOXEL_MM) -> Path:
    return plain_image(path, centred_affine(voxel_mm=voxel_mm), data=data)


def _two_volumes(path: Path) -> Path:
    return _data(path, np.zeros((*SHAPE, 2), np.int16))


def _two_dimensions(path: Path) -> Path:
    return _data(path, np.zeros(SHAPE[:2], np.int16))


def _few_slices(path: Path) -> Path:
    return _data(path, np.zeros((24, 30, 9), np.int16))


def _small_field(path: Path) -> Path:
    return _data(path, np.zeros(SHAPE, np.int16), voxel_mm=3.0)


def _huge_voxels(path: Path) -> Path:
    return _data(path, np.zeros(SHAPE, np.int16), voxel_mm=11.0)


def _complex(path: Path) -> Path:
    return _data(path, np.zeros(SHAPE, np.complex64))


def _colours(path: Path) -> Path:
    content = bytearray(plain_image(path).read_bytes())
    content[70:74] = np.array([128, 24], np.int16).tobytes()  # datatype RGB24, bitpix
    path.write_bytes(content)
    return path


def _not_nifti(path: Path) -> Path:
    path.write_bytes(b"GIF89a" + bytes(1000))
    return path


def _empty(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def _dicom(path: Path) -> Path:
    path.write_bytes(bytes(128) + b"DICM" + bytes(1000))
    return path


def _half_a_pair(path: Path) -> Path:
    image = nib.Nifti1Pair(ramp(), oblique_affine())
    image.to_filename(path.with_suffix(".hdr"))
    return path.with_suffix(".hdr")


def _bad_scaling(path: Path) -> Path:
    content = bytearray(plain_image(path).read_bytes())
    content[112:120] = np.array([1, np.inf], np.float32).tobytes()  # scl_slope, scl_inter
    path.write_bytes(content)
    return path


def _patched(path: Path, offset: int, value: np.generic) -> Path:
    """A sound image with one field of its header overwritten."""
    content = bytearray(plain_image(path).read_bytes())
    content[offset : offset + value.itemsize] = value.tobytes()
    path.write_bytes(content)
    return path


def _unknown_datatype(path: Path) -> Path:
    return _patched(path, 70, np.int16(1234))


def _no_offset(path: Path) -> Path:
    return _patched(path, 108, np.float32(np.nan))


def _endless_offset(path: Path) -> Path:
    return _patched(path, 108, np.float32(np.inf))


def _no_rotation(path: Path) -> Path:
    _patched(path, 256, np.float32(3.0))  # quatern_b
    content = bytearray(path.read_bytes())
    content[252:254] = np.int16(1).tobytes()  # qform_code
    path.write_bytes(content)
    return path


def _cut_off(path: Path) -> Path:
    path.write_bytes(plain_image(path).read_bytes()[:-1])
    return path


def _trailing(path: Path) -> Path:
    path.write_bytes(plain_image(path).read_bytes() + b"x")
    return path


def _cut_off_gzip(path: Path) -> Path:
    content = plain_image(path.with_suffix(".nii.gz")).read_bytes()
    path.write_bytes(content[: len(content) // 2])
    return path


def _bad_checksum(path: Path) -> Path:
    content = bytearray(plain_image(path.with_suffix(".nii.gz")).read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    return path


REFUSALS: list[tuple[Callable[[Path], Path], type[DlbError], str]] = [
    (_no_form, GeometryAmbiguous, "both unset"),
    (_wrong_pixdim, GeometryAmbiguous, "pixdim"),
    (_not_a_number, GeometryAmbiguous, "not numbers"),
    (_sheared, ImplausibleImage, "right angles"),
    (_two_volumes, ImplausibleImage, "24 x 30 x 26 x 2"),
    (_two_dimensions, ImplausibleImage, "24 x 30"),
    (_few_slices, ImplausibleImage, "only 9 slices"),
    (_small_field, ImplausibleImage, "72 x 90 x 78 mm"),
    (_huge_voxels, ImplausibleImage, "11 x 11 x 11 mm"),
    (_complex, ImplausibleImage, "complex64"),
    (_colours, ImplausibleImage, "colours"),
    (_not_nifti, UnreadableImage, "not a NIfTI"),
    (_empty, UnreadableImage, "empty"),
    (_dicom, UnreadableImage, "DICOM"),
    (_half_a_pair, UnreadableImage, r"\.hdr/\.img"),
    (_bad_scaling, UnreadableImage, "scl_inter"),
    (_unknown_datatype, UnreadableImage, "data type"),
    (_no_offset, UnreadableImage, "byte 0"),
    (_endless_offset, UnreadableImage, "byte 0"),
    (_no_rotation, GeometryAmbiguous, "not a rotation"),
    (_cut_off, UnreadableImage, "cut off"),
    (_trailing, UnreadableImage, "more than"),
    (_cut_off_gzip, UnreadableImage, "gzip"),
    (_bad_checksum, UnreadableImage, "gzip"),
]


@pytest.mark.parametrize(("make", "error", "fact"), REFUSALS)
def test_an_unusable_image_is_refused_with_the_fact(
    tmp_path: Path, make: Callable[[Path], Path], error: type[DlbError], fact: str
) -> None:
    """The user must learn which image, what is wrong and what to do, but no server path."""
    path = make(tmp_path / "scan.nii")

    with pytest.raises(error, match=fact) as caught:
        check_header(path, role="FLAIR")

    assert "FLAIR" in str(caught.value)
    assert ": " in str(caught.value) or "; " in str(caught.value)  # the remedy follows
    assert str(tmp_path) not in str(caught.value)


def test_a_single_volume_in_four_dimensions_is_accepted(tmp_path: Path) -> None:
    """Converters write (x, y, z, 1) now and then."""
    path = plain_image(tmp_path / "scan.nii", data=ramp((*SHAPE, 1)))

    assert check_header(path, role="T1w").shape == SHAPE


def test_a_gzip_bomb_is_not_inflated(tmp_path: Path) -> None:
    """Inflation stops one byte after what the header asks for.

    The damage that follows two megabytes later would be reported if anyone had read it.
    """
    image = plain_image(tmp_path / "scan.nii").read_bytes()
    bomb = bytearray(gzip.compress(image + np.random.default_rng(0).bytes(4 << 20)))
    bomb[-8] ^= 1
    (tmp_path / "bomb").write_bytes(bomb)

    with pytest.raises(UnreadableImage, match="more than"):
        check_header(tmp_path / "bomb", role="T1w")


def test_a_header_that_asks_for_gigabytes_is_refused(tmp_path: Path) -> None:
    """The other way to fill the memory: an honest length that no brain scan has."""
    header = nib.Nifti1Header()
    header.set_data_shape((2000, 2000, 2000))
    header.set_qform(np.diag([0.3, 0.3, 0.3, 1]), code=1)
    (tmp_path / "scan.nii").write_bytes(header.binaryblock + bytes(4))

    with pytest.raises(ImplausibleImage, match="2000 x 2000 x 2000"):
        check_header(tmp_path / "scan.nii", role="T1w")


def _facts(affine: np.ndarray) -> ImageFacts:
    return ImageFacts(SHAPE, (VOXEL_MM,) * 3, "RAS", affine)


@pytest.mark.parametrize("shift_mm", [(0, 0, 0), (60, 0, 0), (0, -40, 30)])
def test_a_pair_that_overlaps_is_accepted(shift_mm: tuple[float, float, float]) -> None:
    """Two series of one session seldom share their field of view exactly."""
    moved = rigid((10, 0, 20), shift_mm) @ centred_affine()

    check_pair(_facts(centred_affine()), _facts(moved))


def test_a_small_field_inside_a_large_one_overlaps() -> None:
    """The share of the smaller one counts."""
    large = ImageFacts((100, 100, 100), (VOXEL_MM,) * 3, "RAS", centred_affine((100,) * 3))

    check_pair(large, _facts(centred_affine()))
    check_pair(_facts(centred_affine()), large)


@pytest.mark.parametrize("shift_mm", [(500, 0, 0), (0, 0, -140)])
def test_a_pair_that_hardly_overlaps_is_refused(shift_mm: tuple[float, float, float]) -> None:
    """Then one image is another's, or its header was rewritten."""
    moved = rigid(shift_mm=shift_mm) @ centred_affine()

    with pytest.raises(GridMismatch, match="T1w and FLAIR share only"):
        check_pair(_facts(centred_affine()), _facts(moved))


def test_checking_headers_needs_no_torch() -> None:
    """The service checks every upload and must stay small."""
    code = "import sys, dlb_core.validation; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_header_however_odd_ends_in_a_traceback(tmp_path: Path) -> None:
    """Uploads are hostile until proven: refused or read, nothing else."""
    rng = np.random.default_rng(0)
    sound = plain_image(tmp_path / "sound.nii").read_bytes()
    outcomes = set()
    for _ in range(400):
        content = bytearray(sound)
        for place in rng.integers(4, 352, rng.integers(1, 6)):
            content[place] = rng.integers(256)
        path = tmp_path / "odd.nii"
        path.write_bytes(content)
        try:
            read_volume(path, role="T1w")
            outcomes.add("read")
        except DlbError as error:
            outcomes.add(error.code)

    assert outcomes >= {"read", "unreadable-image", "geometry-ambiguous"}
