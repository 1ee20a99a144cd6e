"""Measure each group of matched lesions, and say what became of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dlb_core.lesions import Labels
from dlb_core.longitudinal.document import ChangeStatus, LesionChange
from dlb_core.longitudinal.evidence import Evidence
from dlb_core.longitudinal.fusion import MAJORITY, Joint
from dlb_core.longitudinal.limits import smallest_detectable_mm3
from dlb_core.longitudinal.matching import Group
from dlb_core.report.document import Lesion, Location, Point, Side
from dlb_core.uncertainty import POSSIBLE_SHARE, SURE_SHARE
from dlb_core.volume import Affine, Grid

REACH_MM = 3.0
"""Votes this near to a lesion are counted to it."""

NEGLIGIBLE = 0.1
"""A lesion of which less than this was there before is new; likewise for what is left of one."""

CHANGED = frozenset(ChangeStatus) - {ChangeStatus.STABLE, ChangeStatus.UNCONFIRMED}


@dataclass(frozen=True, slots=True, eq=False)
class ReportedVisit:
    """One visit's own lesions, to name a group's members and place by."""

    lesions: tuple[Lesion, ...]
    labels: Labels
    """Their numbers, on the half-way grid."""
    flair_to_halfway: Affine
    flair_grid: Grid


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """All groups, and where they lie."""

    changes: tuple[LesionChange, ...]
    groups: Labels
    """Number of each lesion's row, on the half-way grid."""


def measure_changes(
    groups: tuple[Group, ...],
    joint: Joint,
    evidence: Evidence,
    *,
    visits: tuple[ReportedVisit, ReportedVisit],
    grid: Grid,
) -> Measured:
    """Measure every group.

    Parameters
    ----------
    groups : tuple of Group
        From `match_lesions(joint.first_labels, joint.second_labels)`.
    joint : Joint
    evidence : Evidence
    visits : ReportedVisit, ReportedVisit
    grid : Grid
        Of all arrays.

    Returns
    -------
    Measured
        The largest change first; lesions that did not change follow by size.
    """
    painted = _painted(groups, joint)
    nearby = _nearby(painted, grid)
    by_share = [
        _volumes(nearby, joint, share, len(groups), grid.voxel_mm3)
        for share in (POSSIBLE_SHARE, MAJORITY, SURE_SHARE)
    ]
    boxes = ndimage.find_objects(painted)
    measured = [
        _measure(
            number,
            group,
            np.array([volumes[number] for volumes in by_share]),
            _Spot(painted, boxes[number - 1], number, grid),
            joint=joint,
            evidence=evidence,
            visits=visits,
        )
        for number, group in enumerate(groups, 1)
    ]
    order = sorted(range(len(measured)), key=lambda n: _importance(measured[n]))
    rank = np.zeros(len(groups) + 1, dtype=np.int32)
    for place, n in enumerate(order, 1):
        rank[n + 1] = place
    changes = tuple(
        measured[n].model_copy(update={"id": place}) for place, n in enumerate(order, 1)
    )
    return Measured(changes, rank[painted])


def classify(
    group: Group,
    *,
    volumes_mm3: tuple[float, float],
    gained_mm3: float,
    lost_mm3: float,
    interval_mm3: tuple[float, float],
    limit_mm3: float,
) -> ChangeStatus:
    """What became of a group.

    Parameters
    ----------
    group : Group
    volumes_mm3 : float, float
        At either visit.
    gained_mm3, lost_mm3 : float
        Lesion at one visit only.
    interval_mm3 : float, float
        The least and the greatest change of volume, by the networks' agreement.
    limit_mm3 : float
        Changes up to this are not told from noise.
    """
    first, second = volumes_mm3
    if max(gained_mm3, lost_mm3) <= limit_mm3:
        return ChangeStatus.STABLE if first and second else ChangeStatus.UNCONFIRMED
    if first < NEGLIGIBLE * second:
        return ChangeStatus.NEW
    if second < NEGLIGIBLE * first:
        return ChangeStatus.RESOLVED
    if len(group.first) != len(group.second):
        merged = len(group.first) > len(group.second)
        return ChangeStatus.MERGED if merged else ChangeStatus.SPLIT
    if second - first > limit_mm3 and interval_mm3[0] > 0:
        return ChangeStatus.ENLARGING
    if first - second > limit_mm3 and interval_mm3[1] < 0:
        return ChangeStatus.SHRINKING
    return ChangeStatus.STABLE


@dataclass(frozen=True, slots=True, eq=False)
class _Spot:
    """Where one group lies."""

    painted: Labels
    box: tuple[slice, ...]
    number: int
    grid: Grid

    @property
    def inside(self) -> NDArray[np.bool_]:
        return np.asarray(self.painted[self.box] == self.number)

    def centroid(self) -> NDArray[np.float64]:
        """World mm."""
        voxel = np.argwhere(self.inside).mean(axis=0) + [side.start for side in self.box]
        return _apply(self.grid.affine, voxel)


def _painted(groups: tuple[Group, ...], joint: Joint) -> Labels:
    """The number of the group that each lesion voxel of either visit is in."""
    first = np.zeros(int(joint.first_labels.max(initial=0)) + 1, dtype=np.int32)
    second = np.zeros(int(joint.second_labels.max(initial=0)) + 1, dtype=np.int32)
    for number, group in enumerate(groups, 1):
        first[list(group.first)] = number
        second[list(group.second)] = number
    here, later = first[joint.first_labels], second[joint.second_labels]
    return np.where(here > 0, here, later)


def _nearby(painted: Labels, grid: Grid) -> Labels:
    """The number of the nearest group, within reach."""
    if not painted.any():
        return painted
    distance, nearest = ndimage.distance_transform_edt(
        painted == 0, sampling=grid.voxel_sizes, return_indices=True
    )
    spread: Labels = np.where(distance <= REACH_MM, painted[tuple(nearest)], 0)
    return spread


def _volumes(
    nearby: Labels, joint: Joint, share: float, count: int, voxel_mm3: float
) -> NDArray[np.float64]:
    """(groups + 1, 2): mm3 of each group at either visit, where this share of the votes decides."""
    sizes = [
        np.bincount(nearby[votes >= share], minlength=count + 1)
        for votes in (joint.first, joint.second)
    ]
    return np.asarray(np.stack(sizes, axis=1) * voxel_mm3, dtype=np.float64)


def _measure(
    number: int,
    group: Group,
    by_share: NDArray[np.float64],
    spot: _Spot,
    *,
    joint: Joint,
    evidence: Evidence,
    visits: tuple[ReportedVisit, ReportedVisit],
) -> LesionChange:
    box, inside = spot.box, spot.inside
    first = inside & (joint.first_labels[box] > 0)
    second = inside & (joint.second_labels[box] > 0)
    voxel = spot.grid.voxel_mm3
    volumes = float(first.sum()) * voxel, float(second.sum()) * voxel
    # What a quarter and three quarters of the votes say; the majority's is the mask's own.
    steps = np.append(by_share[[0, 2], 1] - by_share[[0, 2], 0], volumes[1] - volumes[0])
    limit = smallest_detectable_mm3(*volumes)
    low, high = float(steps.min()), float(steps.max())
    changed = first ^ second
    gained, lost = (float((changed & at).sum()) * voxel for at in (second, first))
    members = [_members(visit.labels[box][inside]) for visit in visits]
    home = _home(visits, members)
    centroid = spot.centroid()
    return LesionChange(
        id=number,
        status=classify(
            group,
            volumes_mm3=volumes,
            gained_mm3=gained,
            lost_mm3=lost,
            interval_mm3=(low, high),
            limit_mm3=limit,
        ),
        volume_first_mm3=volumes[0],
        volume_second_mm3=volumes[1],
        change_mm3=volumes[1] - volumes[0],
        change_low_mm3=low,
        change_high_mm3=high,
        smallest_detectable_mm3=limit,
        gained_mm3=gained,
        lost_mm3=lost,
        flair_change=round(float(evidence.difference[box][changed].mean()), 4)
        if changed.any()
        else None,
        parts_first=len(group.first),
        parts_second=len(group.second),
        lesions_first=tuple(members[0]),
        lesions_second=tuple(members[1]),
        location=home[0],
        side=home[1],
        centroid_halfway_mm=_point(centroid),
        centroid_first_flair_voxel=_voxel(centroid, visits[0]),
        centroid_second_flair_voxel=_voxel(centroid, visits[1]),
    )


def _members(labels: NDArray[np.int32]) -> list[int]:
    """Numbers of the reported lesions that lie here, the largest share first."""
    counts = np.bincount(labels)
    counts[0] = 0
    return [int(n) for n in np.argsort(-counts, kind="stable") if counts[n]]


def _home(
    visits: tuple[ReportedVisit, ReportedVisit], members: list[list[int]]
) -> tuple[Location | None, Side | None]:
    """Place and side of the reported lesion that shares most; the second visit's if there is."""
    for visit, numbers in zip(reversed(visits), reversed(members), strict=True):
        found = {lesion.id: lesion for lesion in visit.lesions}
        if numbers and numbers[0] in found:
            return found[numbers[0]].location, found[numbers[0]].side
    return None, None


def _importance(change: LesionChange) -> tuple[int, float]:
    """What changed first, the most changed first; then by size."""
    if change.status in CHANGED:
        return 0, -max(change.gained_mm3, change.lost_mm3)
    settled = change.status is ChangeStatus.UNCONFIRMED
    return 1 + settled, -max(change.volume_first_mm3, change.volume_second_mm3)


def _point(values: NDArray[np.float64]) -> Point:
    x, y, z = (round(float(value), 2) + 0.0 for value in values)
    return x, y, z


def _voxel(centroid: NDArray[np.float64], visit: ReportedVisit) -> Point:
    """The FLAIR file's voxel at a place of the half-way space."""
    to_voxel = np.linalg.inv(visit.flair_to_halfway @ visit.flair_grid.affine)
    return _point(_apply(to_voxel, centroid))


def _apply(transform: Affine, point: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(transform[:3, :3] @ point + transform[:3, 3], dtype=np.float64)
