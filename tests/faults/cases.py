"""Small cases whose results can be told from each other, and how each is sent."""

import gzip
import itertools
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import nibabel as nib
import numpy as np

from dlb_core.contracts import JobState, Priority, SegmentationOptions

SHAPE = (24, 28, 28)
OTHER_SHAPE = (26, 28, 28)


class Manner(StrEnum):
    """How a client behaves."""

    PLAIN = "plain"
    SLOW = "slow"
    """Sends a few bytes at a time."""
    HALF = "half"
    """Sends half, hangs up, then sends it all."""
    STALLED = "stalled"
    """Sends half and falls silent until it is cut off, then sends it all."""
    DEAF = "deaf"
    """Sends it all and hangs up before the answer, then sends it again."""
    CANCELS = "cancels"
    MISMATCHED = "mismatched"
    """The images are of two grids."""
    DEADLY = "deadly"
    """Its case kills its own process at each attempt."""


ORDER = (
    *(Manner.PLAIN, Manner.SLOW, Manner.HALF, Manner.DEAF, Manner.CANCELS, Manner.MISMATCHED),
    *(Manner.PLAIN, Manner.PLAIN, Manner.STALLED, Manner.PLAIN, Manner.DEADLY, Manner.PLAIN),
)
"""Again and again."""

MAY_END = {
    Manner.CANCELS: {JobState.DISMISSED, JobState.SUCCESSFUL, JobState.FAILED},
    Manner.MISMATCHED: {JobState.FAILED},
    Manner.DEADLY: {JobState.FAILED},
}
MUST_NOT_FAIL_OTHERWISE = {"worker-died", "case-killed", "case-crashed", "disk-full"}
"""Codes with which a good case may fail: its worker or its case was killed three times."""


@dataclass(frozen=True)
class Case:
    """One request, and what must come of it."""

    number: int
    manner: Manner
    t1w: Path
    flair: Path
    voxels: int
    """Bright ones, so in the mask; another number in each case."""

    @property
    def key(self) -> str:
        """Idempotency key."""
        return f"case-{self.number}"

    @property
    def options(self) -> SegmentationOptions:
        """What the quick pipeline is told."""
        return SegmentationOptions(
            label="crash" if self.manner is Manner.DEADLY else f"pace-{PACES[self.manner]}"
        )

    @property
    def form(self) -> list[tuple[str, bytes]]:
        """Parts of the request."""
        return [
            ("t1w", self.t1w.read_bytes()),
            ("flair", self.flair.read_bytes()),
            ("options", self.options.model_dump_json().encode()),
            ("priority", Priority.ROUTINE.value.encode()),
        ]

    def allows(self, state: JobState, code: str | None) -> bool:
        """Whether the job may end so."""
        if state not in MAY_END.get(self.manner, {JobState.SUCCESSFUL, JobState.FAILED}):
            return False
        if state is not JobState.FAILED:
            return True
        mismatch = {"grid-mismatch"} if self.manner is Manner.MISMATCHED else set()
        return code in MUST_NOT_FAIL_OTHERWISE | mismatch


PACES = dict.fromkeys(Manner, 0.01) | {Manner.CANCELS: 0.05}
"""Seconds between two of the quick pipeline's 75 steps."""


def make_cases(folder: Path, count: int) -> list[Case]:
    """Write so many pairs."""
    folder.mkdir()
    manners = itertools.islice(itertools.cycle(ORDER), count)
    return [_make(folder, number, manner) for number, manner in enumerate(manners, 1)]


def _make(folder: Path, number: int, manner: Manner) -> Case:
    t1w, flair = folder / f"{number}-T1w.nii.gz", folder / f"{number}-FLAIR.nii.gz"
    t1w.write_bytes(_image(SHAPE, bright=0))
    other = manner is Manner.MISMATCHED
    flair.write_bytes(_image(OTHER_SHAPE if other else SHAPE, bright=number))
    return Case(number, manner, t1w, flair, voxels=number)


def _image(shape: tuple[int, int, int], *, bright: int) -> bytes:
    """A head of 5 mm voxels, so many of which are bright."""
    data = np.ones(shape, dtype=np.int16)
    data.reshape(-1)[:bright] = 3
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    image = nib.Nifti1Image(data, affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    return gzip.compress(image.to_bytes(), compresslevel=1, mtime=0)
