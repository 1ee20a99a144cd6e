"""Make a synthetic patient who comes twice: two visits, and what changed in between is known.

The head, the tissue and most lesions are one and the same. Some lesions are new at the second
visit, some are gone, some have grown or shrunk; or nothing changed at all. The head lies in the
scanner anew, and noise, sensitivity and the operator's planning are drawn anew.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from dlb_core.lesions import linear_scale
from dlb_core.synthesis.acquisition import draw_positions, draw_return
from dlb_core.synthesis.anatomy import Head, build_head
from dlb_core.synthesis.patient import LESION_VOLUME_ML, SyntheticPatient, scan_patient
from dlb_core.synthesis.plaques import Plan, Plaque, grow_plaque, paint_plaques, plan_plaques
from dlb_core.volume import Grid

GROWTH, LOSS = 2.2, 0.4
"""Volume of a lesion that grew or shrank, over its volume before."""


class Fate(StrEnum):
    """What became of a lesion between the visits."""

    STABLE = "stable"
    NEW = "new"
    ENLARGING = "enlarging"
    SHRINKING = "shrinking"
    RESOLVED = "resolved"


FATES = {
    Fate.NEW: (3, 8, 13, 18),
    Fate.ENLARGING: (4, 10, 15),
    Fate.SHRINKING: (5, 11),
    Fate.RESOLVED: (6, 12, 17),
}
"""Which lesions change, by their place in the order of size: large ones and small ones."""


@dataclass(frozen=True, slots=True, eq=False)
class FollowUp:
    """Two visits of one synthetic patient."""

    visits: tuple[SyntheticPatient, SyntheticPatient]
    grid: Grid
    """The head grid, MNI world mm."""
    fates: NDArray[np.uint8]
    """On `grid`: 1 + index of a `Fate` in each lesion, as large as it ever was; else 0."""
    scale: float
    """Head grid mm3 over the patient's mm3."""


def make_follow_up(seed: int = 1, *, changes: bool = True, coarsening: int = 1) -> FollowUp:
    """Draw a patient and scan them twice.

    Parameters
    ----------
    seed : int
        Decides everything. With and without changes, the first visit is the same.
    changes : bool
        False where the lesions of the first visit are there again, all as they were.
    coarsening : int
        Factor on all voxel sizes, for quick tests.
    """
    rng = np.random.default_rng([seed, 2])
    head = build_head(rng, coarsening)
    positions = draw_positions(rng)
    scale = linear_scale(positions[0])
    plan = plan_plaques(rng, head, rng.uniform(*LESION_VOLUME_ML) * 1000 * scale)
    fates = _fates(len(plan.plaques))
    at_visits = (_at_visit(plan, fates, 0), _at_visit(plan, fates, 1 if changes else 0))
    places = (positions, draw_return(rng, positions[0]))
    visits = [
        scan_patient(
            head,
            paint_plaques(head, at_visits[visit]),
            places[visit],
            tissue=np.random.default_rng([seed, 3]),
            scanner=np.random.default_rng([seed, 4, visit]),
            seed=seed,
            coarsening=coarsening,
        )
        for visit in (0, 1)
    ]
    if not changes:
        plan, fates = at_visits[0], [Fate.STABLE] * len(at_visits[0].plaques)
    return FollowUp((visits[0], visits[1]), head.grid, _map(head, plan, fates), scale)


def _fates(count: int) -> list[Fate]:
    by_place = {place: fate for fate, places in FATES.items() for place in places}
    return [by_place.get(place, Fate.STABLE) for place in range(count)]


def _at_visit(plan: Plan, fates: list[Fate], visit: int) -> Plan:
    """The lesions there are at a visit."""
    absent = (Fate.NEW, Fate.RESOLVED)[visit]
    present = [
        _sized(plaque, fate, visit)
        for plaque, fate in zip(plan.plaques, fates, strict=True)
        if fate is not absent
    ]
    return Plan(tuple(present), plan.bumps)


def _sized(plaque: Plaque, fate: Fate, visit: int) -> Plaque:
    """A lesion as large as it is at a visit."""
    factor = {Fate.ENLARGING: GROWTH, Fate.SHRINKING: LOSS}.get(fate, 1.0) if visit else 1.0
    return replace(plaque, volume_mm3=plaque.volume_mm3 * factor)


def _map(head: Head, plan: Plan, fates: list[Fate]) -> NDArray[np.uint8]:
    order = list(Fate)
    painted = np.zeros(head.grid.shape, dtype=np.uint8)
    for plaque, fate in zip(plan.plaques, fates, strict=True):
        largest = replace(plaque, volume_mm3=plaque.volume_mm3 * max(1.0, _factor(fate)))
        box, grown = grow_plaque(head, largest, plan.bumps)
        painted[box][grown] = 1 + order.index(fate)
    return painted


def _factor(fate: Fate) -> float:
    return GROWTH if fate is Fate.ENLARGING else 1.0
