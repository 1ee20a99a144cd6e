"""Reading and writing NIfTI files."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dlb_core.errors import ImplausibleImage
from dlb_core.nifti import read_volume, write_like, write_volume
from dlb_core.template import MNI_GRID
from dlb_core.volume import Volume
from tests.unit.images import SHAPE, oblique_affine, plain_image, ramp, write_image


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_values_are_read_as_nibabel_reads_them(tmp_path: Path, name: str, kind: type) -> None:
    """Negative ones too, in the file's own axes."""
    path = plain_image(tmp_path / name, kind=kind)

    volume = read_volume(path, role="T1w")

    assert volume.data.dtype == np.float32
    np.testing.assert_array_equal(volume.data, ramp())
    np.testing.assert_allclose(volume.affine, nib.load(path).affine)


def test_integer_scaling_is_applied(tmp_path: Path) -> None:
    """Scanners store integers with a slope and an intercept."""
    path = plain_image(tmp_path / "scan.nii")
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([0.5, -20], np.float32).tobytes()  # scl_slope, scl_inter
    path.write_bytes(content)

    np.testing.assert_allclose(read_volume(path, role="T1w").data, ramp() * 0.5 - 20)


def test_an_unset_intercept_counts_as_zero(tmp_path: Path) -> None:
    """Some writers leave NaN there, and a whole public data set came that way."""
    path = plain_image(tmp_path / "scan.nii")
    content = bytearray(path.read_bytes())
    content[112:120] = np.array([2, np.nan], np.float32).tobytes()  # scl_slope, scl_inter
    path.write_bytes(content)

    np.testing.assert_array_equal(read_volume(path, role="T1w").data, 2.0 * ramp())


def test_big_endian_values_are_read(tmp_path: Path) -> None:
    """Bytes in the wrong order would be noise that passes every header check."""
    image = nib.Nifti1Image(ramp(), None, nib.Nifti1Header(endianness=">"))
    image.set_data_dtype(np.int16)
    image.set_sform(oblique_affine(), code=1)
    image.set_qform(oblique_affine(), code=1)
    image.to_filename(tmp_path / "scan.nii")

    np.testing.assert_array_equal(read_volume(tmp_path / "scan.nii", role="T1w").data, ramp())


def test_a_trailing_dimension_of_one_is_dropped(tmp_path: Path) -> None:
    """Everything after reading is three-dimensional."""
    path = plain_image(tmp_path / "scan.nii", data=ramp((*SHAPE, 1)))

    np.testing.assert_array_equal(read_volume(path, role="T1w").data, ramp())


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    """One NaN spreads over the whole result; how many there are tells the user where to look."""
    data = ramp().astype(np.float64)
    data[3, 4, 5] = value
    path = plain_image(tmp_path / "scan.nii", data=data)

    with pytest.raises(ImplausibleImage, match="FLAIR holds 1 voxels that are not finite"):
        read_volume(path, role="FLAIR")


def test_a_constant_image_is_refused(tmp_path: Path) -> None:
    """An export that failed, most often."""
    path = plain_image(tmp_path / "scan.nii", data=np.full(SHAPE, 7, np.int16))

    with pytest.raises(ImplausibleImage, match="T1w is empty, all its voxels hold 7"):
        read_volume(path, role="T1w")


@pytest.mark.parametrize("name", ["scan.nii", "scan.nii.gz"])
def test_a_written_volume_reads_back(tmp_path: Path, name: str) -> None:
    """Through nibabel and through us, at the same place."""
    volume = Volume(np.random.default_rng(0).random(SHAPE, np.float32), oblique_affine())

    write_volume(tmp_path / name, volume, dtype=np.float32, description="test")

    np.testing.assert_array_equal(nib.load(tmp_path / name).get_fdata(), volume.data)
    again = read_volume(tmp_path / name, role="T1w")
    np.testing.assert_array_equal(again.data, volume.data)
    np.testing.assert_allclose(again.affine, volume.affine, atol=1e-5)


@pytest.mark.parametrize(("shape", "code"), [(MNI_GRID.shape, 4), (SHAPE, 1)])
def test_both_forms_are_written_with_the_code_of_the_space(
    tmp_path: Path, shape: tuple[int, int, int], code: int
) -> None:
    """Viewers differ in the form they use and say which space an image is in."""
    write_volume(tmp_path / "map.nii", Volume(np.ones(shape), MNI_GRID.affine), dtype=np.uint8)

    header = nib.load(tmp_path / "map.nii").header
    assert (int(header["qform_code"]), int(header["sform_code"])) == (code, code)
    np.testing.assert_allclose(header.get_qform(), MNI_GRID.affine, atol=1e-4)
    np.testing.assert_allclose(header.get_sform(), MNI_GRID.affine, atol=1e-4)


def test_the_same_volume_gives_the_same_bytes(tmp_path: Path) -> None:
    """Results are compared by digest: no time and no file name in the gzip header."""
    volume = Volume(ramp(), oblique_affine())

    write_volume(tmp_path / "first.nii.gz", volume, dtype=np.int16)
    write_volume(tmp_path / "second.nii.gz", volume, dtype=np.int16)

    first = (tmp_path / "first.nii.gz").read_bytes()
    assert first == (tmp_path / "second.nii.gz").read_bytes()
    assert first[4:8] == bytes(4)


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    """A mask is whole or not there; values that do not fit are our own mistake."""
    path = tmp_path / "map.nii"
    path.write_bytes(b"old")

    with pytest.raises(AssertionError, match="too narrow"):
        write_volume(path, Volume(ramp(), oblique_affine()), dtype=np.uint8)

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_floats_are_rounded_into_integers(tmp_path: Path) -> None:
    """Cutting off would turn 0.9999 votes into none."""
    data = np.full(SHAPE, 1.9999)

    write_volume(tmp_path / "map.nii", Volume(data, oblique_affine()), dtype=np.uint8)

    assert (nib.load(tmp_path / "map.nii").get_fdata() == 2).all()


@pytest.mark.parametrize("forms", [("qform",), ("sform",), ("qform", "sform")])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_native_mask_has_the_geometry_of_its_input(
    tmp_path: Path, forms: tuple[str, ...], kind: type
) -> None:
    """Masks in the wrong place are what users of such tools complain of most."""
    reference = write_image(
        tmp_path / "scan.nii.gz", kind=kind, **dict.fromkeys(forms, oblique_affine())
    )
    mask = ramp() > 1000

    write_like(tmp_path / "mask.nii.gz", mask, reference, dtype=np.uint8)

    expected, written = nib.load(reference), nib.load(tmp_path / "mask.nii.gz")
    assert written.shape == expected.shape
    assert written.header["sizeof_hdr"] == expected.header["sizeof_hdr"]
    np.testing.assert_array_equal(written.affine, expected.affine)
    for form in ("get_qform", "get_sform"):
        ours, code = getattr(written.header, form)(coded=True)
        theirs, their_code = getattr(expected.header, form)(coded=True)
        assert code == their_code
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(written.get_fdata(), mask)


def test_a_native_mask_keeps_a_trailing_dimension(tmp_path: Path) -> None:
    """Shapes must be equal for the two to be overlaid."""
    reference = plain_image(tmp_path / "scan.nii", data=ramp((*SHAPE, 1)))

    write_like(tmp_path / "mask.nii", ramp() > 0, reference, dtype=np.uint8)

    assert nib.load(tmp_path / "mask.nii").shape == (*SHAPE, 1)


def test_no_text_of_the_input_reaches_an_output(tmp_path: Path) -> None:
    """Converters write patients' names into the header."""
    reference = plain_image(tmp_path / "scan.nii", description=b"DOE^JANE")

    write_like(tmp_path / "mask.nii", ramp() > 0, reference, dtype=np.uint8)

    assert b"DOE" not in (tmp_path / "mask.nii").read_bytes()
