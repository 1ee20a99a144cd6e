"""What is scored: a bundle of weights, or the best fixed FLAIR threshold as the baseline."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dlb_core.checkpoints import Bundle
from dlb_core.contracts import Device
from dlb_core.ensemble import run_ensemble
from dlb_core.evaluation.cases import ReadyCase
from dlb_core.metrics import dice
from dlb_core.postprocessing import lesion_mask, native_mask
from dlb_core.preprocessing.normalise import white_matter_mode
from dlb_core.resampling import to_native
from dlb_core.template import load_template
from dlb_core.volume import Mask
from dlb_core.voting import CONVINCING_SHARE

SPREADS = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
"""Standard deviations above the grey matter's mode that the baseline tries."""

NetworkCallback = Callable[[int], None]


class Method(Protocol):
    """Anything that marks lesions in a case."""

    @property
    def id(self) -> str:
        """Part of its files' names."""
        ...

    @property
    def digest(self) -> str:
        """Another digest, another result."""
        ...

    def segment(self, case: ReadyCase, on_network: NetworkCallback) -> tuple[Mask, str]:
        """The mask on the case's grid, and a remark for its record."""
        ...


@dataclass(frozen=True, slots=True)
class Ensemble:
    """A bundle, run and voted as in the pipeline."""

    bundle: Bundle
    minimum_lesion_mm3: float
    device: Device = Device.CPU

    @property
    def id(self) -> str:
        """Its manifest's digest, shortened."""
        return f"bundle-{self.bundle.sha256[:12]}"

    @property
    def digest(self) -> str:
        """The manifest's, which holds all others, and what else may change a mask."""
        rules = f"{self.minimum_lesion_mm3!r} {CONVINCING_SHARE}"
        return f"{self.bundle.sha256} {rules} {self.device.value}"

    def segment(self, case: ReadyCase, on_network: NetworkCallback) -> tuple[Mask, str]:
        """Run the networks."""
        run = run_ensemble(
            case.image, case.brain_mask, self.bundle, device=self.device, on_network=on_network
        )
        mask = lesion_mask(
            run.consensus,
            case.brain_mask,
            minimum_mm3=self.minimum_lesion_mm3,
            voxel_mm3=case.mni_voxel_mm3,
        )
        if case.to_mni is None:
            return mask, ""
        threshold = self.bundle.manifest.vote_threshold
        probability = run.consensus.probability
        return native_mask(mask, probability, case.grid, case.to_mni, threshold=threshold), ""


@dataclass(frozen=True, slots=True)
class BestThreshold:
    """What a fixed FLAIR threshold could do at best: it is chosen knowing the answer.

    Lesion is what, in the template's white matter, is brighter in FLAIR than the grey matter's
    mode by so many standard deviations; of `SPREADS` each case gets the one with the best Dice.
    """

    id: str = "threshold"
    digest: str = f"best of {SPREADS}"

    def segment(self, case: ReadyCase, on_network: NetworkCallback) -> tuple[Mask, str]:
        """Try all thresholds."""
        marked = bright(case.image[1], SPREADS)
        tried = {spread: _on_grid(mask, case) for spread, mask in marked.items()}
        best = max(tried, key=lambda spread: dice(tried[spread], case.reference))
        return tried[best], f"grey-matter mode + {best:g} sd"


def bright(flair: NDArray[np.float32], spreads: Sequence[float]) -> dict[float, Mask]:
    """What FLAIR thresholds mark on the MNI grid, each by its spread.

    Parameters
    ----------
    flair : (181, 217, 181) float32
        Preprocessed, 0 outside the brain.
    spreads : sequence of float
        Standard deviations of the grey matter above its mode.
    """
    template = load_template()
    grey = flair[(template.grey_matter > 0.8) & (flair > 0)]
    if grey.size == 0 or grey.min() == grey.max():
        return {spread: np.zeros(flair.shape, dtype=bool) for spread in spreads}
    mode, sd = white_matter_mode(grey).value, grey.std()
    white = template.white_matter > 0.5
    return {spread: np.asarray((flair > mode + spread * sd) & white) for spread in spreads}


def _on_grid(mask: Mask, case: ReadyCase) -> Mask:
    if case.to_mni is None:
        return mask
    return np.asarray(to_native(mask.astype(np.float32), case.grid, case.to_mni) >= 0.5)
