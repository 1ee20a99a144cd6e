"""Lesions are measured in the right space, on phantoms whose answers are known."""

from dataclasses import replace

import numpy as np
import pytest

from dlb_core.errors import GridMismatch
from dlb_core.location import Landmarks, Locator
from dlb_core.measurement import Evidence, largest_diameter_mm, measure_lesions, sum_up
from dlb_core.report.document import Confidence, IntracranialGap, Lesion, LocationRules
from dlb_core.template import MNI_GRID
from dlb_core.tissue import Intracranial
from dlb_core.volume import Grid

IDENTITY = np.eye(4)
SHAPE = (20, 20, 20)


def affine(scales: tuple[float, float, float], offset: tuple[float, float, float]) -> np.ndarray:
    matrix = np.diag([*scales, 1.0])
    matrix[:3, 3] = offset
    return matrix


def evidence(labels: np.ndarray, **changes: object) -> Evidence:
    """A perfect model in an MNI-like native space, except for `changes`."""
    grid = Grid(SHAPE, MNI_GRID.affine)
    perfect = Evidence(
        t1w=np.ones(SHAPE, np.float32),
        flair=np.ones(SHAPE, np.float32),
        brain_mask=np.ones(SHAPE, dtype=bool),
        probability=(labels > 0).astype(np.float32),
        votes=(labels > 0).astype(np.uint8),
        coverage=np.ones(SHAPE, np.uint8),
        t1w_to_mni=IDENTITY,
        flair_to_mni=IDENTITY,
        native_t1w=grid,
        native_flair=grid,
        brain_volume_ml=4.0,
        intracranial=Intracranial(volume_ml=4.0),
    )
    return replace(perfect, **changes)


def measure(labels: np.ndarray, **changes: object) -> tuple[Lesion, ...]:
    """Measure on a small grid whose far corner holds the landmarks."""
    given = evidence(labels, **changes)
    corner = np.zeros(SHAPE, dtype=bool)
    corner[-1, -1, -1] = True
    landmarks = Landmarks(ventricles=corner, cortex=corner, infratentorial=corner)
    locator = Locator(landmarks, t1w_to_mni=given.t1w_to_mni, rules=LocationRules())
    return measure_lesions(labels, given, locator)


def box_labels(*boxes: tuple[slice | int, slice | int, slice | int]) -> np.ndarray:
    labels = np.zeros(SHAPE, np.int32)
    for number, box in enumerate(boxes, 1):
        labels[box] = number
    return labels


def test_no_lesion_measures_nothing() -> None:
    assert measure(box_labels()) == ()


def test_volumes_are_the_patients_own() -> None:
    """A small brain is enlarged to the template's size; its lesions must not grow with it."""
    labels = box_labels((slice(4, 6), slice(4, 6), slice(4, 6)))

    (lesion,) = measure(labels, t1w_to_mni=affine((2, 1, 1), (0, 0, 0)))

    assert lesion.mni_volume_mm3 == 8
    assert lesion.volume_mm3 == 4


def test_centroids_are_given_in_mni_mm_and_in_voxels_of_both_files() -> None:
    """They are what a reader types into a viewer; a swapped direction would point elsewhere."""
    t1w = Grid((10, 10, 10), affine((2, 2, 2), (-100, -130, -80)))
    flair = Grid((10, 10, 10), affine((-1, 1, 3), (0, -130, -80)))

    (lesion,) = measure(
        box_labels((10, 4, slice(6, 9))),
        native_t1w=t1w,
        native_flair=flair,
        flair_to_mni=affine((1, 1, 1), (0, 0, 5)),  # FLAIR world + 5 mm in z = MNI.
    )

    assert lesion.centroid_mni_mm == (-80, -122, -65)
    assert lesion.centroid_t1w_voxel == (10, 4, 7.5)
    assert lesion.centroid_flair_voxel == (80, 8, 3.33)


def test_probability_agreement_and_its_word_are_the_lesions_own() -> None:
    votes = np.zeros(SHAPE, np.uint8)
    votes[5, 5, 5:7] = (2, 30)
    coverage = np.full(SHAPE, 30, np.uint8)
    coverage[5, 5, 5] = 4
    probability = np.zeros(SHAPE, np.float32)
    probability[5, 5, 5:7] = (0.5, 1.0)

    (lesion,) = measure(
        box_labels((5, 5, slice(5, 7))), probability=probability, votes=votes, coverage=coverage
    )

    assert lesion.mean_probability == pytest.approx(0.75)
    assert lesion.agreement == pytest.approx(0.75)
    assert lesion.confidence is Confidence.MODERATE


def test_arrays_of_another_grid_are_refused() -> None:
    with pytest.raises(GridMismatch, match="MNI grid"):
        measure(box_labels(), votes=np.zeros((20, 20, 21), np.uint8))


def test_a_row_of_voxels_is_as_long_as_its_voxels() -> None:
    row = np.zeros((9, 9, 9), dtype=bool)
    row[1:8, 4, 4] = True

    assert largest_diameter_mm(row, IDENTITY) == pytest.approx(7)


def test_a_diameter_is_the_patients_own() -> None:
    """Half the length in a head that was doubled to fit the template."""
    row = np.zeros((9, 9, 9), dtype=bool)
    row[1:8, 4, 4] = True

    assert largest_diameter_mm(row, affine((2, 1, 1), (3, 4, 5))) == pytest.approx(3.5)


@pytest.mark.parametrize("radius", [3, 9])
def test_a_ball_has_its_diameter_in_every_direction(radius: int) -> None:
    """Few points are compared directly, many through their hull: both must say the same."""
    x, y, z = np.ogrid[-12:13, -12:13, -12:13]
    ball = x**2 + y**2 + z**2 <= radius**2

    assert largest_diameter_mm(ball, IDENTITY) == pytest.approx(2 * radius + 1, abs=0.01)


def test_totals_are_the_sums_of_the_table_in_the_patients_space() -> None:
    labels = box_labels((slice(0, 2), slice(0, 5), slice(0, 5)), (10, 10, 10))
    doubled = affine((2, 1, 1), (0, 0, 0))
    given = evidence(labels, t1w_to_mni=doubled)

    case = sum_up(measure(labels, t1w_to_mni=doubled), given, 0.0)

    assert case.lesion_count == 2
    assert case.centre_count == 2
    assert case.lesion_volume_ml == pytest.approx(0.0255)
    assert case.lesion_volume_low_ml == case.lesion_volume_high_ml == pytest.approx(0.0255)
    assert case.lesion_load_percent == pytest.approx(0.6375)


def test_totals_tell_why_there_is_no_intracranial_volume() -> None:
    """An empty field alone would be taken for an older report."""
    gap = IntracranialGap.FIELD_OF_VIEW

    case = sum_up((), evidence(box_labels(), intracranial=Intracranial(gap=gap)), 3.0)

    assert (case.intracranial_volume_ml, case.intracranial_gap) == (None, gap)


def test_an_empty_brain_mask_has_a_lesion_load_of_zero() -> None:
    given = evidence(box_labels(), brain_volume_ml=0.0)

    assert sum_up((), given, 3.0).lesion_load_percent == 0
