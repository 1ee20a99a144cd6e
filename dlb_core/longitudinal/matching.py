"""Which lesion of one visit is which of the other: a graph of overlaps, taken apart.

A lesion of the first visit and one of the second are joined where they share enough of the smaller
one. Each connected group of the graph is one row of the result: one lesion alone is new or
resolved, one and one are the same, several and one have merged, one and several have split.
"""

from dataclasses import dataclass

import numpy as np

from dlb_core.lesions import Labels

OVERLAP = 0.1
"""Of the smaller lesion's voxels."""


@dataclass(frozen=True, slots=True)
class Group:
    """Lesions that belong together."""

    first: tuple[int, ...]
    second: tuple[int, ...]
    """Their numbers at either visit, ascending; one of the two may be empty."""


def match_lesions(first: Labels, second: Labels, *, overlap: float = OVERLAP) -> tuple[Group, ...]:
    """Match the lesions of two visits.

    Parameters
    ----------
    first, second : (I, J, K) int32
        Lesion numbers on one grid, from 1; 0 elsewhere.
    overlap : float
        Share of the smaller lesion that must be common, in [0, 1].

    Returns
    -------
    tuple of Group
        Every lesion is in exactly one; those of the first visit's largest lesions come first.
    """
    sizes = np.bincount(first.ravel(), minlength=1), np.bincount(second.ravel(), minlength=1)
    both = (first > 0) & (second > 0)
    pairs, counts = np.unique(
        np.stack([first[both], second[both]], axis=1), axis=0, return_counts=True
    )
    nodes = [(0, n) for n in range(1, len(sizes[0]))] + [(1, n) for n in range(1, len(sizes[1]))]
    leader = {node: node for node in nodes}
    for (one, other), count in zip(pairs.tolist(), counts.tolist(), strict=True):
        if count >= overlap * min(sizes[0][one], sizes[1][other]):
            _join(leader, (0, one), (1, other))
    groups: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for node in nodes:
        groups.setdefault(_leader(leader, node), []).append(node)
    return tuple(
        Group(
            tuple(n for visit, n in members if visit == 0),
            tuple(n for visit, n in members if visit == 1),
        )
        for members in groups.values()
    )


def _leader(
    leader: dict[tuple[int, int], tuple[int, int]], node: tuple[int, int]
) -> tuple[int, int]:
    while leader[node] != node:
        node = leader[node]
    return node


def _join(
    leader: dict[tuple[int, int], tuple[int, int]], one: tuple[int, int], other: tuple[int, int]
) -> None:
    first, second = sorted((_leader(leader, one), _leader(leader, other)))
    leader[second] = first
