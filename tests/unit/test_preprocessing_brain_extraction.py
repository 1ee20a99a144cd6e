"""Finding the brain."""

import numpy as np
import pytest

from dlb_core.errors import ImplausibleImage
from dlb_core.preprocessing.brain_extraction import extract_brain, nonzero_brain
from dlb_core.synthesis.patient import SyntheticPatient, make_patient
from dlb_core.volume import Mask, Volume


@pytest.fixture(scope="module")
def patient() -> SyntheticPatient:
    """A head of voxels twice as large as usual."""
    return make_patient(3, coarsening=2)


def _dice(first: Mask, second: Mask) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def test_the_brain_of_a_head_is_found(patient: SyntheticPatient) -> None:
    """Stored sagittally, with skull, eyes and neck around it."""
    found = extract_brain(patient.t1w, role="T1w")

    assert _dice(found, patient.brain_t1w.data > 0) > 0.95


def test_a_brain_far_off_the_centre_of_a_large_field_is_found(patient: SyntheticPatient) -> None:
    """Taken whole, such an image once gave a mask of twice the brain's size.

    Its axes are permuted and flipped too: the mask must follow the array.
    """
    before, after = (5, 110, 20), (120, 10, 60)
    widths = list(zip(before, after, strict=True))
    data = np.pad(patient.t1w.data, widths).transpose(2, 0, 1)[::-1]
    affine = patient.t1w.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ before
    affine[:, :3] = affine[:, [2, 0, 1]]
    affine[:3, 3] += affine[:3, 0] * (data.shape[0] - 1)
    affine[:3, 0] *= -1

    found = extract_brain(Volume(data, affine), role="T1w")

    truth = np.pad(patient.brain_t1w.data > 0, widths).transpose(2, 0, 1)[::-1]
    assert _dice(found, truth) > 0.95


def test_an_image_without_a_brain_is_refused() -> None:
    """The user is told which image it was, not what went wrong inside a network."""
    data = np.zeros((40, 40, 40), np.float32)
    data[20, 20, 20] = 1

    with pytest.raises(ImplausibleImage, match="No brain was found in the FLAIR"):
        extract_brain(Volume(data, np.diag([5.0, 5, 5, 1])), role="FLAIR")


def test_the_brain_of_a_stripped_image_is_what_is_not_zero() -> None:
    """Zeros enclosed by it (fluid clipped to zero) belong to it; negative values too."""
    data = np.zeros((20, 20, 20), np.float32)
    data[5:15, 5:15, 5:15] = -1
    data[9:11, 9:11, 9:11] = 0

    mask = nonzero_brain(Volume(data, np.eye(4)), role="T1w")

    assert mask[5:15, 5:15, 5:15].all()
    assert mask.sum() == 1000


def test_an_image_with_hardly_any_zero_is_not_stripped() -> None:
    """A wrong input_state is found here rather than as a strange registration."""
    data = np.ones((20, 20, 20), np.float32)
    data[0] = 0

    with pytest.raises(ImplausibleImage, match=r"T1w is said to be skull-stripped, but 95%"):
        nonzero_brain(Volume(data, np.eye(4)), role="T1w")
