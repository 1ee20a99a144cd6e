"""Decide both visits' lesions together, so that the networks' mood of one day is no change.

Where the two FLAIRs do not differ, there is one truth, seen twice: both visits get the mean of the
networks' votes. Where they differ the way the votes do (brighter, and more votes for lesion; or
darker, and fewer), each visit keeps its own. In between the two are mixed.
"""

from dataclasses import dataclass

import numpy as np

from dlb_core.lesions import Labels, label_lesions
from dlb_core.longitudinal.evidence import Evidence
from dlb_core.longitudinal.intensity import Array
from dlb_core.volume import Mask

MAJORITY = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Joint:
    """Both visits' votes, made up together; arrays on one grid."""

    first: Array
    second: Array
    """Share of the networks for lesion, in [0, 1]."""
    first_labels: Labels
    second_labels: Labels
    """Lesions, numbered from the largest."""


def decide_together(
    first: Array, second: Array, evidence: Evidence, brain: Mask, *, minimum_voxels: float
) -> Joint:
    """Mix two visits' votes by the evidence of change, and take the majority.

    Parameters
    ----------
    first, second : (I, J, K) float32
        Share of the networks for lesion, in [0, 1].
    evidence : Evidence
    brain : (I, J, K) bool
    minimum_voxels : float
        What touches and is smaller than this, both visits taken together, is left out.
    """
    votes = second - first
    agrees = np.sign(votes) == np.sign(evidence.difference)
    own = np.where(agrees, evidence.weight, 0)
    shared = (1 - own) * (first + second) / 2
    joint = [np.where(brain, own * each + shared, 0).astype(np.float32) for each in (first, second)]
    masks = [each >= MAJORITY for each in joint]
    either = label_lesions(masks[0] | masks[1])
    kept = np.bincount(either.ravel()) >= minimum_voxels
    kept[0] = False
    labels = [label_lesions(mask & kept[either]) for mask in masks]
    return Joint(joint[0], joint[1], labels[0], labels[1])
