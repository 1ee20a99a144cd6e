"""Where a series' images lie, and whether they make one volume.

DICOM's world is LPS; everything here stays in it until `Stack.affine`, which is RAS+ as all else in
this project.

Source: DICOM PS3.3, C.7.6.2 (image plane), equation C.7.6.2.1-1.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from dlb_core.dicom.headers import Instance, Vector
from dlb_core.errors import SeriesDefective
from dlb_core.volume import Affine

_SAME = 2e-3
"""Direction cosines, and voxel sizes in mm, that differ by less are one."""
_MAX_SHEAR = 1e-3
"""Cosine between the stack's direction and a row or column; more is a gantry tilt."""
_SAME_PLACE_MM = 0.01
_UNEVEN = 0.05
"""Share of the usual step by which a step may differ."""
_ASIDE = 0.1
"""Share of a step by which an image may stand aside of the line of all."""
_NAMED = 8
"""Images named in a message, at most."""
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """A series as one volume: its images along their normal, evenly spaced."""

    instances: tuple[Instance, ...]
    """In the order of their positions along the normal."""
    affine: Affine
    """(4, 4), index (column, row, image) -> world mm, RAS+."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(columns, rows, images)."""
        first = self.instances[0]
        return first.columns, first.rows, len(self.instances)


def stack(instances: Iterable[Instance], *, role: str) -> Stack:
    """Order a series' images, and insist that they make one volume.

    Parameters
    ----------
    instances : iterable of Instance
    role : str
        "T1w" or "FLAIR", for the messages.

    Raises
    ------
    SeriesDefective
        The images at fault are named by their instance numbers.
    """
    members = list(instances)
    _require_geometry(members, role)
    _require_alike(members, role)
    across, down, normal = _axes(members[0])
    members.sort(key=lambda one: float(_place(one) @ normal))
    depths = np.array([float(_place(one) @ normal) for one in members])
    _require_single(members, depths, role)
    _require_even(members, depths, role)
    _require_upright(members, (across, down, normal), role)
    return Stack(tuple(members), _affine(members, across, down))


def _require_geometry(members: list[Instance], role: str) -> None:
    lacking = [one for one in members if not _has_geometry(one)]
    if lacking:
        raise SeriesDefective(
            f"The {role} series does not say where {_named(lacking)} lie(s): export it again."
        )


def _has_geometry(one: Instance) -> bool:
    if one.position is None or one.orientation is None or one.spacing is None:
        return False
    if not (one.rows > 0 and one.columns > 0 and (one.spacing > 0).all()):
        return False
    row, column = one.orientation[:3], one.orientation[3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    return bool(np.allclose(lengths, 1, atol=0.01) and abs(row @ column) < 0.01)


def _require_alike(members: list[Instance], role: str) -> None:
    """Refuse a series with a localiser, or anything else of another geometry, among its images."""
    _refuse_odd(members, _orientation, f"The {role} series mixes orientations", role)
    _refuse_odd(members, _matrix, "Matrix sizes differ", role)
    _refuse_odd(members, _spacing, "Voxel sizes differ", role)


def _refuse_odd(
    members: list[Instance], trait: Callable[[Instance], Vector], what: str, role: str
) -> None:
    traits = [trait(one) for one in members]
    counted = Counter(tuple(np.round(found, 3)) for found in traits)
    usual = np.array(counted.most_common(1)[0][0])
    odd = [
        one
        for one, found in zip(members, traits, strict=True)
        if np.abs(found - usual).max() > _SAME
    ]
    if odd:
        raise SeriesDefective(
            f"{what}: of the {len(members)} images of the {role} series, {_named(odd)} "
            "differ(s) from the others: send the series without."
        )


def _require_single(members: list[Instance], depths: Vector, role: str) -> None:
    twice = [
        (before, after)
        for before, after, step in zip(members, members[1:], np.diff(depths), strict=False)
        if step < _SAME_PLACE_MM
    ]
    if twice:
        pairs = ", ".join(f"{one.name} and {other.name}" for one, other in twice[:_NAMED])
        more = f" and {len(twice) - _NAMED} more pairs" if len(twice) > _NAMED else ""
        raise SeriesDefective(
            f"The {role} series has images in the same place: instances {pairs}{more}. "
            "Send one volume: one echo, one time point."
        )


def _require_even(members: list[Instance], depths: Vector, role: str) -> None:
    if len(members) < 2:
        raise SeriesDefective(f"The {role} series has a single image: send the whole series.")
    steps = np.diff(depths)
    usual = float(np.median(steps))
    uneven = np.flatnonzero(np.abs(steps - usual) > _UNEVEN * usual)
    if uneven.size:
        told = ", ".join(
            f"between instances {members[at].name} and {members[at + 1].name} ({steps[at]:.2f} mm)"
            for at in uneven[:_NAMED]
        )
        raise SeriesDefective(
            f"The {role} series has a gap, or uneven steps: images are {usual:.2f} mm apart, but "
            f"{told}. Send the missing images too."
        )


def _require_upright(
    members: list[Instance], axes: tuple[Vector, Vector, Vector], role: str
) -> None:
    """Refuse a stack that leans (gantry tilt), or images that stand aside of it."""
    across, down, normal = axes
    step = (_place(members[-1]) - _place(members[0])) / (len(members) - 1)
    lean = np.hypot(step @ across, step @ down) / np.linalg.norm(step)
    if lean > _MAX_SHEAR:
        angle = np.degrees(np.arcsin(min(float(lean), 1.0)))
        raise SeriesDefective(
            f"The {role} series is sheared by {angle:.1f} degrees (gantry tilt), from instance "
            f"{members[0].name} to {members[-1].name}: resample it onto upright slices."
        )
    aside = [
        one
        for at, one in enumerate(members)
        if np.linalg.norm(_place(one) - _place(members[0]) - at * step)
        > _ASIDE * abs(step @ normal)
    ]
    if aside:
        raise SeriesDefective(
            f"{_named(aside)} of the {role} series stand(s) aside of the line of the others: "
            "export the series again."
        )


def _affine(members: list[Instance], across: Vector, down: Vector) -> Affine:
    spacing = _spacing(members[0])
    step = (_place(members[-1]) - _place(members[0])) / (len(members) - 1)
    affine = np.eye(4)
    affine[:3, 0] = across * spacing[1]
    affine[:3, 1] = down * spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = _place(members[0])
    ras: Affine = _LPS_TO_RAS @ affine
    return ras


def _axes(one: Instance) -> tuple[Vector, Vector, Vector]:
    orientation = _orientation(one)
    across, down = orientation[:3], orientation[3:]
    return across, down, np.cross(across, down)


def _matrix(one: Instance) -> Vector:
    return np.array([one.rows, one.columns], dtype=np.float64)


def _place(one: Instance) -> Vector:
    assert one.position is not None, "checked first"
    return one.position


def _orientation(one: Instance) -> Vector:
    assert one.orientation is not None, "checked first"
    return one.orientation


def _spacing(one: Instance) -> Vector:
    assert one.spacing is not None, "checked first"
    return one.spacing


def _named(members: list[Instance]) -> str:
    """Images by their instance numbers, not more than a reader can take in."""
    members = sorted(members, key=lambda one: one.number or 0)
    names = ", ".join(one.name for one in members[:_NAMED])
    more = f" and {len(members) - _NAMED} more" if len(members) > _NAMED else ""
    return f"{'instance' if len(members) == 1 else 'instances'} {names}{more}"
