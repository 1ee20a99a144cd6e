"""Measure a case's lesions: size, place, certainty, and their sums.

Volumes and distances are given in the patient's own space: the affine registration of the T1w to
the template scales a brain by the determinant of its linear part, the same everywhere, so dividing
by it undoes the scaling. Arrays are indexed (i, j, k); affines map voxel indices to world mm, RAS+.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from dlb_core.errors import GridMismatch
from dlb_core.lesion_centres import count_centres
from dlb_core.lesions import Labels, patient_voxel_mm3, rim, voxels_to_patient
from dlb_core.location import Locator, location_totals, patient_landmarks
from dlb_core.location_atlas import location_atlas
from dlb_core.report.document import Lesion, LocationRules, LocationTotals, Point, Totals
from dlb_core.template import MNI_GRID
from dlb_core.tissue import MM3_PER_ML, Intracranial
from dlb_core.uncertainty import confidence, volume_bounds_mm3
from dlb_core.volume import Affine, Grid, Mask

_FEW_POINTS = 500


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What lesions are measured from: a case's maps on the MNI grid, and its geometry."""

    t1w: NDArray[np.floating[Any]]
    flair: NDArray[np.floating[Any]]
    """Preprocessed: white matter at 1, zero outside the brain."""
    brain_mask: Mask
    probability: NDArray[np.floating[Any]]
    """Mean lesion probability of the networks that saw the voxel."""
    votes: NDArray[np.integer[Any]]
    coverage: NDArray[np.integer[Any]]
    """How many networks called the voxel lesion, and how many saw it."""
    t1w_to_mni: Affine
    flair_to_mni: Affine
    """Native world mm -> MNI world mm."""
    native_t1w: Grid
    native_flair: Grid
    """The input files' grids."""
    brain_volume_ml: float
    """Of the T1w's own brain mask."""
    intracranial: Intracranial

    @property
    def voxel_mm3(self) -> float:
        """What one MNI voxel measures in the patient's own space."""
        return patient_voxel_mm3(self.t1w_to_mni)


@dataclass(frozen=True, slots=True)
class Measures:
    """Everything measured of a case's lesions."""

    lesions: tuple[Lesion, ...]
    """By number, so from the largest to the smallest."""
    totals: Totals
    locations: tuple[LocationTotals, ...]
    rules: LocationRules


def measure_case(labels: Labels, evidence: Evidence, *, minimum_mm3: float) -> Measures:
    """Measure a case.

    Parameters
    ----------
    labels : (181, 217, 181) int32
        From `dlb_core.lesions.label_lesions`, on the MNI grid.
    evidence : Evidence
    minimum_mm3 : float
        Smallest lesion that is kept, in the patient's own space.

    Raises
    ------
    GridMismatch
        Labels and maps differ in shape.
    """
    rules = LocationRules()
    landmarks = patient_landmarks(
        location_atlas(), t1w=evidence.t1w, flair=evidence.flair, lesions=labels > 0
    )
    locator = Locator(landmarks, t1w_to_mni=evidence.t1w_to_mni, rules=rules)
    lesions = measure_lesions(labels, evidence, locator)
    return Measures(
        lesions, sum_up(lesions, evidence, minimum_mm3), location_totals(lesions), rules
    )


def measure_lesions(labels: Labels, evidence: Evidence, locator: Locator) -> tuple[Lesion, ...]:
    """Measure every lesion.

    Parameters
    ----------
    labels : (I, J, K) int32
        From `dlb_core.lesions.label_lesions`, on the MNI grid.
    evidence : Evidence
    locator : Locator

    Returns
    -------
    tuple of Lesion
        By number; empty where there is no lesion. A centroid is the mean position of the lesion's
        voxels; for a curved lesion it may lie outside it.

    Raises
    ------
    GridMismatch
        The arrays differ in shape.
    """
    _require_one_grid(labels, evidence.probability, evidence.votes, evidence.coverage)
    boxes = ndimage.find_objects(labels)
    return tuple(
        _measure(number, labels, box, evidence, locator) for number, box in enumerate(boxes, 1)
    )


def _measure(
    number: int,
    labels: Labels,
    box: tuple[slice, ...],
    evidence: Evidence,
    locator: Locator,
) -> Lesion:
    lesion = labels[box] == number
    voxels = np.argwhere(lesion) + [side.start for side in box]
    centroid = _apply(MNI_GRID.affine, voxels.mean(axis=0))
    probability = evidence.probability[box]
    agreement = _mean_share(evidence.votes[box][lesion], evidence.coverage[box][lesion])
    place = locator.place(voxels)
    return Lesion(
        id=number,
        volume_mm3=len(voxels) * evidence.voxel_mm3,
        mni_volume_mm3=len(voxels) * MNI_GRID.voxel_mm3,
        largest_diameter_mm=largest_diameter_mm(lesion, evidence.t1w_to_mni),
        centroid_mni_mm=_point(centroid),
        centroid_flair_voxel=_native_voxel(centroid, evidence.flair_to_mni, evidence.native_flair),
        centroid_t1w_voxel=_native_voxel(centroid, evidence.t1w_to_mni, evidence.native_t1w),
        location=place.location,
        side=place.side,
        ventricle_distance_mm=round(place.ventricle_distance_mm, 2),
        cortex_distance_mm=round(place.cortex_distance_mm, 2),
        infratentorial_share=place.infratentorial_share,
        centres=count_centres(lesion, probability),
        mean_probability=float(np.clip(probability[lesion].mean(dtype=np.float64), 0, 1)),
        agreement=agreement,
        confidence=confidence(agreement),
    )


def largest_diameter_mm(lesion: Mask, t1w_to_mni: Affine) -> float:
    """The longest straight line between two points of a lesion's surface, mm.

    Parameters
    ----------
    lesion : (I, J, K) bool
        One lesion, cropped to it or not; not empty.
    t1w_to_mni : (4, 4)
        T1w world mm -> MNI world mm.

    Returns
    -------
    float
        In the patient's own space. The surface runs through the middles of voxel faces, so that a
        row of n voxels of 1 mm measures n mm.

    References
    ----------
    Zwanenburg et al., Radiology 295 (2020) 328-338 (IBSI): maximum 3D diameter.
    """
    faces = np.concatenate([0.5 * np.eye(3), -0.5 * np.eye(3)])
    points = (np.argwhere(rim(lesion))[:, None, :] + faces).reshape(-1, 3)
    points = points @ voxels_to_patient(t1w_to_mni).T
    if len(points) > _FEW_POINTS:
        points = points[ConvexHull(points).vertices]
    return float(pdist(points).max())


def sum_up(lesions: tuple[Lesion, ...], evidence: Evidence, minimum_mm3: float) -> Totals:
    """Sum a case up.

    Parameters
    ----------
    lesions : tuple of Lesion
        From `measure_lesions`.
    evidence : Evidence
    minimum_mm3 : float
        Smallest lesion that is kept, in the patient's own space.

    Returns
    -------
    Totals
        In the patient's own space; the lesion load of an empty brain mask is 0.
    """
    lesion_mm3 = sum(lesion.volume_mm3 for lesion in lesions)
    low_mm3, high_mm3 = volume_bounds_mm3(
        evidence.votes,
        evidence.coverage,
        evidence.brain_mask,
        minimum_mm3=minimum_mm3,
        voxel_mm3=evidence.voxel_mm3,
    )
    return Totals(
        lesion_count=len(lesions),
        centre_count=sum(lesion.centres for lesion in lesions),
        lesion_volume_ml=lesion_mm3 / MM3_PER_ML,
        lesion_volume_low_ml=low_mm3 / MM3_PER_ML,
        lesion_volume_high_ml=high_mm3 / MM3_PER_ML,
        brain_volume_ml=evidence.brain_volume_ml,
        intracranial_volume_ml=evidence.intracranial.volume_ml,
        intracranial_gap=evidence.intracranial.gap,
        lesion_load_percent=_percent(lesion_mm3 / MM3_PER_ML, evidence.brain_volume_ml),
    )


def _percent(part: float, whole: float) -> float:
    return 100 * part / whole if whole else 0.0


def _require_one_grid(*arrays: NDArray[Any]) -> None:
    shapes = {array.shape for array in arrays}
    if len(shapes) > 1:
        raise GridMismatch(
            "Labels, probability, votes and coverage must share one grid, but their shapes are "
            f"{sorted(shapes)}: resample them to the MNI grid first."
        )


def _mean_share(votes: NDArray[np.integer[Any]], coverage: NDArray[np.integer[Any]]) -> float:
    share = np.divide(votes, coverage, out=np.zeros(votes.shape), where=coverage > 0)
    return float(np.clip(share.mean(), 0, 1))


def _apply(transform: Affine, point: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(transform[:3, :3] @ point + transform[:3, 3], dtype=np.float64)


def _native_voxel(centroid_mni: NDArray[np.float64], native_to_mni: Affine, grid: Grid) -> Point:
    return _point(_apply(np.linalg.inv(native_to_mni @ grid.affine), centroid_mni))


def _point(row: NDArray[np.float64]) -> Point:
    # A hundredth of a millimetre or voxel is far below what a centroid means.
    i, j, k = (round(float(x), 2) + 0.0 for x in row)
    return i, j, k
