"""Which axial slices the report shows: those that together pass through all lesions."""

import numpy as np
from numpy.typing import NDArray

from dlb_core.volume import Mask

FEWEST_SLICES, MOST_SLICES = 12, 24
MINIMUM_GAP = 4
"""Voxels between slices that show no lesion of their own, so that they show different things."""
FAIR_SHARE = 0.5
"""A slice shows a lesion if it holds this much of what the lesion's fullest slice holds."""


def choose_slices(areas: NDArray[np.int64], brain_mask: Mask) -> list[int]:
    """Indices of the axial slices to show, from the top of the head down.

    First, as few slices as will do to pass through every lesion, at most `MOST_SLICES`; where that
    leaves room up to `FEWEST_SLICES`, the slices with most lesion; then slices evenly spread over
    the brain.

    Parameters
    ----------
    areas : (lesions, K) int64
        From `lesion_areas`.
    brain_mask : (I, J, K) bool
    """
    chosen = _cover(areas)
    by_area = [int(k) for k in np.argsort(-areas.sum(axis=0), kind="stable") if areas[:, k].any()]
    for k in [*by_area, *_evenly(brain_mask)]:
        apart = all(abs(k - other) >= MINIMUM_GAP for other in chosen)
        if apart and len(chosen) < FEWEST_SLICES:
            chosen.append(k)
    return sorted(chosen, reverse=True)


def lesion_areas(labels: NDArray[np.int32]) -> NDArray[np.int64]:
    """(lesions, axial slices): voxels of each lesion in each slice."""
    count = int(labels.max(initial=0))
    i, j, k = np.nonzero(labels)
    areas = np.zeros((count, labels.shape[2]), dtype=np.int64)
    np.add.at(areas, (labels[i, j, k] - 1, k), 1)
    return areas


def _cover(areas: NDArray[np.int64]) -> list[int]:
    """The slice that shows most lesions not yet shown, again and again."""
    if not len(areas):
        return []
    shows = areas >= np.maximum(1, FAIR_SHARE * areas.max(axis=1, keepdims=True))
    waiting = np.ones(len(areas), dtype=bool)
    chosen: list[int] = []
    while waiting.any() and len(chosen) < MOST_SLICES:
        gain = (shows & waiting[:, None]).sum(axis=0)
        # Among equals, the one with most of the waiting lesions in it.
        k = int(np.lexsort((areas[waiting].sum(axis=0), gain))[-1])
        chosen.append(k)
        waiting &= ~shows[:, k]
    return chosen


def _evenly(brain_mask: Mask) -> list[int]:
    brain = np.flatnonzero(brain_mask.any(axis=(0, 1)))
    low, high = (int(brain[0]), int(brain[-1])) if len(brain) else (0, brain_mask.shape[2] - 1)
    return [int(k) for k in np.linspace(low, high, FEWEST_SLICES + 2)[1:-1].round()]
