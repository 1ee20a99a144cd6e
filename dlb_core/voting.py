"""Gather the networks' overlapping predictions and take the majority.

A network votes lesion where its probability reaches the bundle's vote threshold. A voxel is
lesion where more than half of the networks that cover it say so. About 80 % of the covered
voxels are covered by an even number: a tie is lesion where the mean probability reaches the
threshold. What no network covers is background, with coverage 0.

Source: Kamraoui et al., Medical Image Analysis 76 (2022) 102312, section 2.3.2; the tie rule
is ours.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlb_core.tiling import Location
from dlb_core.volume import Mask, Shape

CONVINCING_SHARE = Fraction(4, 5)
"""Share of the networks that a lesion must convince in at least one of its voxels; chosen on the
two scans that the card calls a development set (docs/decisions/convincing-lesions.md)."""
TIE_RULE = "a tie is lesion where the mean probability reaches the vote threshold"


@dataclass(frozen=True, slots=True, eq=False)
class Consensus:
    """What the ensemble says, voxel by voxel, on the MNI grid."""

    mask: Mask
    probability: NDArray[np.float32]
    """Mean lesion probability over the covering networks; 0 where there is none."""
    votes: NDArray[np.uint8]
    """Networks that say lesion."""
    coverage: NDArray[np.uint8]
    """Networks that cover the voxel."""

    @property
    def agreement(self) -> NDArray[np.float32]:
        """Votes / coverage, in [0, 1]; 0 where uncovered."""
        coverage = np.maximum(self.coverage, 1).astype(np.float32)
        return np.asarray(self.votes / coverage, dtype=np.float32)


def convincing(votes: NDArray[np.integer[Any]], coverage: NDArray[np.integer[Any]]) -> Mask:
    """Where at least `CONVINCING_SHARE` of the covering networks say lesion.

    Parameters
    ----------
    votes, coverage : (I, J, K) int
        How many networks called the voxel lesion, and how many saw it.

    Returns
    -------
    (I, J, K) bool
    """
    enough = votes.astype(np.int32) * CONVINCING_SHARE.denominator >= (
        coverage.astype(np.int32) * CONVINCING_SHARE.numerator
    )
    return np.asarray(enough & (coverage > 0), dtype=bool)


class Ballot:
    """Counts votes as the networks come in; the order of `add` calls fixes the rounding."""

    def __init__(self, shape: Shape, threshold: float) -> None:
        self._threshold = threshold
        self._sum = np.zeros(shape, dtype=np.float32)
        self._votes = np.zeros(shape, dtype=np.uint8)
        self._coverage = np.zeros(shape, dtype=np.uint8)

    def add(self, location: Location, probability: NDArray[np.float32]) -> None:
        """Enter one network's probabilities for one place."""
        self._sum[location.slices] += probability
        self._votes[location.slices] += probability >= self._threshold
        self._coverage[location.slices] += 1

    def parts(self) -> dict[str, NDArray[Any]]:
        """All that was counted so far, by name."""
        return {"sum": self._sum, "votes": self._votes, "coverage": self._coverage}

    def restore(self, parts: Mapping[str, NDArray[Any]]) -> None:
        """Go on from what another ballot of the same case had counted.

        Raises
        ------
        ValueError
            The parts are another grid's.
        """
        # Each is read once: a file's parts are inflated anew every time they are asked for.
        given = {name: parts[name] for name in self.parts()}
        for name, counted in self.parts().items():
            if given[name].shape != counted.shape or given[name].dtype != counted.dtype:
                raise ValueError(f"{name}: not of this grid")
        for name, counted in self.parts().items():
            counted[:] = given[name]

    def count(self) -> Consensus:
        """Take the majority."""
        coverage: NDArray[np.float32] = np.maximum(self._coverage, 1).astype(np.float32)
        probability: NDArray[np.float32] = self._sum / coverage
        doubled = self._votes.astype(np.int16) * 2
        tie = (doubled == self._coverage) & (self._coverage > 0)
        mask = (doubled > self._coverage) | (tie & (probability >= self._threshold))
        return Consensus(mask, probability, self._votes.copy(), self._coverage.copy())
