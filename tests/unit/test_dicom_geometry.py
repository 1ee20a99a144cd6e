"""Series that make one volume, and series that do not: the images at fault are named."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from dicom_kit import AXIAL, CORONAL, OBLIQUE, SAGITTAL, SHAPE, SPACING, flair, series
from pydicom.dataset import Dataset

from dlb_core.dicom.geometry import Stack, stack
from dlb_core.dicom.headers import instance_of
from dlb_core.errors import SeriesDefective


def stacked(images: list[Any]) -> Stack:
    """Images at hand as one volume."""
    found = [instance_of(image) for image in images]
    return stack([one for one in found if one is not None], role="FLAIR")


@pytest.mark.parametrize("directions", [AXIAL, CORONAL, SAGITTAL, OBLIQUE])
@pytest.mark.parametrize("backwards", [False, True])
def test_every_voxel_lies_where_its_image_says(
    directions: tuple[tuple[float, ...], ...], backwards: bool
) -> None:
    """Results are laid over the series by this affine alone."""
    images = flair(directions=directions, backwards=backwards)

    made = stacked(images[::2] + images[1::2])

    assert made.shape == SHAPE
    for at in (0, 5, SHAPE[2] - 1):
        header = made.instances[at].header
        row, column = np.split(np.array(header.ImageOrientationPatient, dtype=float), 2)
        centre = np.array(header.ImagePositionPatient, dtype=float)
        lps = centre + row * SPACING[0] * 3 + column * SPACING[1] * 4
        found = made.affine @ (3, 4, at, 1)
        np.testing.assert_allclose(found[:3] * (-1, -1, 1), lps, atol=0.01)


def changed(change: Callable[[list[Dataset]], None]) -> list[Dataset]:
    """A series, changed."""
    images = list(flair())
    change(images)
    return images


def _shift(image: Dataset, by: tuple[float, float, float]) -> None:
    image.ImagePositionPatient = [
        float(at) + step for at, step in zip(image.ImagePositionPatient, by, strict=True)
    ]


def _tilt(images: list[Dataset]) -> None:
    for at, image in enumerate(images):
        _shift(image, (0.0, 2.0 * at, 0.0))


def _localiser(images: list[Dataset]) -> None:
    other = series(3, directions=SAGITTAL)
    images += other[5:7]
    for number, image in zip((15, 16), images[-2:], strict=True):
        image.SOPInstanceUID = f"1.2.3.{number}"
        image.InstanceNumber = number


def _second_echo(images: list[Dataset]) -> None:
    again = list(flair())
    for image in again:
        image.SOPInstanceUID = f"1.2.3.{image.InstanceNumber}"
        image.InstanceNumber += 14
    images += again


DEFECTS: dict[str, tuple[Callable[[list[Dataset]], Any], str]] = {
    "a missing image": (lambda images: images.pop(6), "between instances 6 and 8 .18.00 mm"),
    "an image out of place": (lambda images: _shift(images[4], (0, 0, 3)), "4 and 5 .12.00 mm"),
    "images twice": (_second_echo, "same place: instances 1 and 15, 2 and 16"),
    "a gantry tilt": (_tilt, "gantry tilt.*instance 1 to 14"),
    "a localiser among them": (_localiser, "mixes orientations.*instances 15, 16"),
    "another matrix": (lambda images: setattr(images[2], "Rows", 18), "Matrix.*instance 3 "),
    "another voxel size": (
        lambda images: setattr(images[2], "PixelSpacing", [7.0, 6.5]),
        "Voxel sizes.*instance 3 ",
    ),
    "no position": (
        lambda images: delattr(images[8], "ImagePositionPatient"),
        "does not say where instance 9 ",
    ),
    "an image aside": (lambda images: _shift(images[4], (3, 0, 0)), "instance 5 .*aside"),
    "one image": (lambda images: images.__delitem__(slice(1, None)), "a single image"),
    "an impossible orientation": (
        lambda images: setattr(images[1], "ImageOrientationPatient", [1, 0, 0, 1, 0, 0]),
        "does not say where instance 2 ",
    ),
}


@pytest.mark.parametrize(("change", "complaint"), DEFECTS.values(), ids=DEFECTS)
def test_a_defect_is_refused_and_its_images_named(
    change: Callable[[list[Dataset]], Any], complaint: str
) -> None:
    """A mask in the wrong place is worse than none; whoever sent it must find the images."""
    with pytest.raises(SeriesDefective, match=complaint):
        stacked(changed(change))


def test_positions_rounded_by_the_scanner_are_not_taken_for_a_defect() -> None:
    """Many scanners write positions with one or two decimals."""
    images = list(flair(directions=OBLIQUE))
    for image in images:
        image.ImagePositionPatient = [round(float(at), 2) for at in image.ImagePositionPatient]

    assert stacked(images).shape == SHAPE
