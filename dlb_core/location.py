"""Where a lesion lies: infratentorial, periventricular, juxtacortical, or deep white matter.

The classes are those of the MAGNIMS and McDonald criteria; the rules are geometric, are declared in
`LocationRules`, and are tried in this order:

1. infratentorial: at least half of the lesion lies in brainstem or cerebellum, or around them;
2. periventricular: a voxel of it comes within 3 mm of a lateral ventricle;
3. juxtacortical (or cortical): a voxel of it comes within 2 mm of the cerebral cortex;
4. deep white matter: everything else, lesions of deep grey matter too.

Infratentorial brain is the template's, carried to the patient by the affine, with what lies around
it: not in the template's tissue, and nearer to it than to the rest of the brain. Ventricles are the
patient's own fluid near the template's, since they widen with the disease; cortex is what looks
like grey matter on the patient's T1w where the template allows cortex, lesions left out.
Distances are between voxel centres, in mm of the patient's own space: neighbours are about 1 mm
apart. This says where lesions lie; it is no verdict on dissemination in space.

Sources: Filippi et al., Brain 142 (2019) 1858-1875; Thompson et al., Lancet Neurology 17 (2018)
162-173.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from dlb_core.lesions import rim, voxels_to_patient
from dlb_core.location_atlas import LocationAtlas
from dlb_core.preprocessing.denoise import bounding_box
from dlb_core.report.document import (
    Lesion,
    Location,
    LocationRules,
    LocationTotals,
    Side,
    SideTotals,
)
from dlb_core.template import MNI_GRID
from dlb_core.tissue import MM3_PER_ML
from dlb_core.volume import Affine, Mask

FLUID_T1W = 0.55
FLUID_FLAIR = 0.75
"""Fluid is darker than this in both images; white matter is 1."""
VENTRICLE_REACH_MM = 8.0
"""How far on the MNI grid a patient's ventricle may go beyond the template's."""
GREY_T1W = (0.5, 0.84)
"""Grey matter's range on the T1w."""
SMALLEST_OWN_SHARE = 0.25
"""Of the template's volume; where less is found in the patient, the template's stands in."""

Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one lesion lies."""

    location: Location
    side: Side
    ventricle_distance_mm: float
    cortex_distance_mm: float
    infratentorial_share: float


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """What a patient's lesions are placed by: masks on the MNI grid, none of them empty."""

    ventricles: Mask
    """Lateral ventricles."""
    cortex: Mask
    """Cerebral cortex."""
    infratentorial: Mask
    """Brainstem and cerebellum, with their surroundings."""


class Locator:
    """Places lesions of one patient."""

    def __init__(self, landmarks: Landmarks, *, t1w_to_mni: Affine, rules: LocationRules) -> None:
        self._rules = rules
        self._infratentorial = landmarks.infratentorial
        self._to_patient = voxels_to_patient(t1w_to_mni)
        self._ventricles = _Nearest(landmarks.ventricles, self._to_patient)
        self._cortex = _Nearest(landmarks.cortex, self._to_patient)

    def place(self, voxels: Indices) -> Place:
        """Place one lesion.

        Parameters
        ----------
        voxels : (N, 3) int
            Its voxels on the MNI grid.
        """
        ventricle = self._ventricles.distance_mm(voxels)
        cortex = self._cortex.distance_mm(voxels)
        share = float(self._infratentorial[tuple(voxels.T)].mean())
        return Place(
            location=self._classify(share, ventricle, cortex),
            side=side_of(voxels, self._rules.midline_share),
            ventricle_distance_mm=ventricle,
            cortex_distance_mm=cortex,
            infratentorial_share=share,
        )

    def _classify(self, infratentorial: float, ventricle: float, cortex: float) -> Location:
        if infratentorial >= self._rules.infratentorial_share:
            return Location.INFRATENTORIAL
        if ventricle <= self._rules.periventricular_mm:
            return Location.PERIVENTRICULAR
        if cortex <= self._rules.juxtacortical_mm:
            return Location.JUXTACORTICAL
        return Location.DEEP_WHITE_MATTER


class _Nearest:
    """Distance of voxels to a region, in the patient's mm."""

    def __init__(self, region: Mask, to_patient: NDArray[np.float64]) -> None:
        self._region = region
        self._to_patient = to_patient
        self._tree = cKDTree(np.argwhere(rim(region)) @ to_patient.T)

    def distance_mm(self, voxels: Indices) -> float:
        """Of the nearest voxel; 0 where one lies in the region."""
        if self._region[tuple(voxels.T)].any():
            return 0.0
        distances, _ = self._tree.query(voxels @ self._to_patient.T)
        return float(distances.min())


def side_of(voxels: Indices, midline_share: float) -> Side:
    """The side of a lesion: midline where at least `midline_share` of it lies on either side.

    Parameters
    ----------
    voxels : (N, 3) int
        Its voxels on the MNI grid; those of the mid-sagittal plane count half to each side.
    midline_share : float
    """
    x = MNI_GRID.affine[0, 3] + voxels[:, 0] * MNI_GRID.affine[0, 0]
    right = float((x > 0).mean() + 0.5 * (x == 0).mean())
    if midline_share <= right <= 1 - midline_share:
        return Side.MIDLINE
    return Side.RIGHT if right > 0.5 else Side.LEFT


def patient_landmarks(
    atlas: LocationAtlas,
    *,
    t1w: NDArray[np.floating[Any]],
    flair: NDArray[np.floating[Any]],
    lesions: Mask,
) -> Landmarks:
    """Fit the atlas to a patient's images.

    Parameters
    ----------
    atlas : LocationAtlas
    t1w, flair : (181, 217, 181) float
        Preprocessed: white matter at 1, zero outside the brain.
    lesions : (181, 217, 181) bool
        They are neither fluid nor cortex, whatever they look like.

    Returns
    -------
    Landmarks
        Ventricles: fluid of both images within reach of the template's lateral ventricles, nearer
        to them than to any other fluid of the template, and connected with them; the thin horns,
        which scans seldom show, are the template's. Cortex: grey on the T1w where the template
        allows cortex. Where a patient's own are not found, both are the template's.
    """
    ventricles = _own_ventricles(atlas, t1w, flair) | atlas.horns
    grey = atlas.possible_cortex & (t1w >= GREY_T1W[0]) & (t1w <= GREY_T1W[1]) & ~lesions
    # A lesion's blurred rim is grey too, but only a voxel thick.
    cortex = _own_or(ndimage.binary_opening(grey, np.ones((2, 2, 2))), atlas.cortex)
    return Landmarks(ventricles & ~lesions, cortex, atlas.posterior_fossa)


def _own_ventricles(
    atlas: LocationAtlas, t1w: NDArray[np.floating[Any]], flair: NDArray[np.floating[Any]]
) -> Mask:
    body = atlas.ventricles & ~atlas.horns
    fluid = (t1w > 0) & (t1w < FLUID_T1W) & (flair < FLUID_FLAIR)
    return _own_or(_connected(_nearer(fluid, body, atlas.other_fluid), body), body)


def _own_or(own: Mask, standard: Mask) -> Mask:
    return own if own.sum() >= SMALLEST_OWN_SHARE * standard.sum() else standard


def _nearer(fluid: Mask, body: Mask, other: Mask) -> Mask:
    """Fluid voxels within reach of the ventricles, and nearer to them than to other fluid."""
    reach = round(VENTRICLE_REACH_MM)
    box = bounding_box(body, margin=reach)
    voxels = np.argwhere(fluid[box])
    near, _ = cKDTree(np.argwhere(body[box])).query(voxels, distance_upper_bound=reach)
    far, _ = cKDTree(np.argwhere(other[box])).query(voxels)
    kept = voxels[(near <= reach) & (near <= far)]
    mask = np.zeros(fluid.shape, dtype=bool)
    mask[box][tuple(kept.T)] = True
    return mask


def _connected(fluid: Mask, body: Mask) -> Mask:
    labels, _ = ndimage.label(fluid)
    touched = np.unique(labels[body & fluid])
    return np.asarray(np.isin(labels, touched[touched > 0]))


def location_totals(lesions: tuple[Lesion, ...]) -> tuple[LocationTotals, ...]:
    """Count and sum lesions by class and side; every class is there, empty or not."""
    return tuple(_totals_of(location, lesions) for location in Location)


def _totals_of(location: Location, lesions: tuple[Lesion, ...]) -> LocationTotals:
    here = [lesion for lesion in lesions if lesion.location is location]
    sides = {side.value: _side_totals([x for x in here if x.side is side]) for side in Side}
    whole = _side_totals(here)
    return LocationTotals(
        location=location,
        lesion_count=whole.lesion_count,
        lesion_volume_ml=whole.lesion_volume_ml,
        left=sides["left"],
        right=sides["right"],
        midline=sides["midline"],
    )


def _side_totals(lesions: list[Lesion]) -> SideTotals:
    volume_mm3 = sum(lesion.volume_mm3 for lesion in lesions)
    return SideTotals(lesion_count=len(lesions), lesion_volume_ml=volume_mm3 / MM3_PER_ML)
