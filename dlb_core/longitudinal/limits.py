"""The smallest change of a lesion that can be told from noise.

Two things bound it. The networks' agreement: a change must have one sign at a quarter, at half and
at three quarters of the votes. And repeated scans: the limit lies above what the joint decision
still called change in lesions that had not changed between two scans; an error of the outline grows
with the surface, so with the volume to the power of 2/3.

How the two constants were found, and on what: docs/longitudinal.md.
"""

import math
from collections.abc import Iterable

FLOOR_MM3 = 15.0
PER_SURFACE = 1.0
"""mm3 of change for each mm2 of volume^(2/3)."""
MODEL_SHA256 = "c2bfa57780e99e1ad88253b3dc2ade06a1e990106b2101dda9b9d0fcaa24714b"
"""The bundle that the repeated scans were segmented with."""


def smallest_detectable_mm3(first_mm3: float, second_mm3: float) -> float:
    """What a lesion of these volumes must change by to count as changed.

    Parameters
    ----------
    first_mm3, second_mm3 : float
        Of the lesion at either visit; 0 where it is not there.
    """
    surface = math.pow((first_mm3 + second_mm3) / 2, 2 / 3)
    return max(FLOOR_MM3, PER_SURFACE * surface)


def smallest_detectable_total_mm3(limits_mm3: Iterable[float]) -> float:
    """For the sum of many lesions' changes: their errors are taken as independent."""
    return math.sqrt(sum(limit**2 for limit in limits_mm3))
