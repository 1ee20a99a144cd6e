"""The whole preprocessing of one case, in order: from two native images to two on the MNI grid.

denoise -> brain mask -> T1w to MNI (affine), FLAIR to T1w (rigid) -> resample once ->
bias field -> denoise again -> white matter to 1.

The order is lesionBrain's (the paper, section 3.1.3), but for the brain mask, which comes
before registration, since the template we ship with is stripped.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dlb_core.contracts import InputState, Progress, ProgressCallback, Stage, StopCallback
from dlb_core.errors import Cancelled
from dlb_core.preprocessing.bias_field import correct_bias
from dlb_core.preprocessing.brain_extraction import extract_brain, nonzero_brain
from dlb_core.preprocessing.denoise import bounding_box, denoise, noise_level
from dlb_core.preprocessing.normalise import Mode, normalise_pair
from dlb_core.preprocessing.registration import register_affine, register_rigid
from dlb_core.resampling import resample
from dlb_core.template import MNI_GRID, load_template
from dlb_core.volume import Affine, Grid, Mask, Volume

_MANY_NEGATIVE = 0.05
"""Of the voxels."""


@dataclass(frozen=True, slots=True, eq=False)
class NativeImage:
    """What the quality checks need to know of an input, and where its masks go back to."""

    grid: Grid
    brain_mask: Mask
    """On `grid`."""
    noise: float
    """Standard deviation, in the image's own intensities."""
    white_matter: Mode
    """The white matter's intensity, in the image's own intensities."""


@dataclass(frozen=True, slots=True, eq=False)
class PreprocessedCase:
    """A case as the networks see it, and the way back."""

    t1w: NDArray[np.float32]
    """On `MNI_GRID`: white matter at 1, zero outside the brain."""
    flair: NDArray[np.float32]
    """On `MNI_GRID`: white matter at 1, zero outside the brain."""
    brain_mask: Mask
    """On `MNI_GRID`; from the T1w."""
    t1w_to_mni: Affine
    """T1w world mm -> MNI world mm."""
    flair_to_t1w: Affine
    """FLAIR world mm -> T1w world mm."""
    native_t1w: NativeImage
    native_flair: NativeImage

    @property
    def flair_to_mni(self) -> Affine:
        """FLAIR world mm -> MNI world mm."""
        return self.t1w_to_mni @ self.flair_to_t1w


def ignore(_: Progress) -> None:
    """Report progress to nobody."""


def never() -> bool:
    """Never stop."""
    return False


def preprocess_case(
    t1w: Volume,
    flair: Volume,
    *,
    input_state: InputState,
    on_progress: ProgressCallback = ignore,
    should_stop: StopCallback = never,
) -> PreprocessedCase:
    """Bring one case into the space and the intensities that the networks know.

    Parameters
    ----------
    t1w, flair : Volume
        One person's images, each in its own native space, any orientation.
    input_state : InputState
        RAW: the brain is searched. SKULL_STRIPPED: the non-zero voxels are the brain.
    on_progress : callable
        Told of each stage, image by image.
    should_stop : callable
        Asked between steps.

    Raises
    ------
    ImplausibleImage
        No brain, or too little white matter, was found.
    StageFailed
        A registration diverged.
    Cancelled
        `should_stop` said so.
    """

    def enter(stage: Stage, done: int = 0) -> None:
        if should_stop():
            raise Cancelled("The case was cancelled during preprocessing.")
        on_progress(Progress(stage=stage, done=done, total=2))

    enter(Stage.DENOISING)
    stripped = input_state is InputState.SKULL_STRIPPED
    given_t1w = nonzero_brain(t1w, role="T1w") if stripped else None
    given_flair = nonzero_brain(flair, role="FLAIR") if stripped else None
    clean_t1w = denoise(_not_negative(t1w, given_t1w), given_t1w)
    enter(Stage.DENOISING, 1)
    clean_flair = denoise(_not_negative(flair, given_flair), given_flair)

    enter(Stage.BRAIN_EXTRACTION)
    brain_t1w = extract_brain(clean_t1w, role="T1w") if given_t1w is None else given_t1w
    enter(Stage.BRAIN_EXTRACTION, 1)
    brain_flair = extract_brain(clean_flair, role="FLAIR") if given_flair is None else given_flair

    enter(Stage.REGISTRATION)
    t1w_to_mni = register_affine(clean_t1w, brain_t1w)
    enter(Stage.REGISTRATION, 1)
    flair_to_t1w = register_rigid(clean_flair, brain_flair, clean_t1w, brain_t1w)

    enter(Stage.BIAS_CORRECTION)
    brain_mask = _mask_to_mni(brain_t1w, t1w.affine, t1w_to_mni)
    even_t1w = correct_bias(_to_mni(clean_t1w, t1w_to_mni), brain_mask)
    enter(Stage.BIAS_CORRECTION, 1)
    even_flair = correct_bias(_to_mni(clean_flair, t1w_to_mni @ flair_to_t1w), brain_mask)

    enter(Stage.NORMALISATION)
    final_t1w, final_flair, mode_t1w, mode_flair = normalise_pair(
        denoise(even_t1w, brain_mask).data,
        denoise(even_flair, brain_mask).data,
        brain_mask=brain_mask,
        white_matter=load_template().white_matter,
    )
    return PreprocessedCase(
        t1w=final_t1w,
        flair=final_flair,
        brain_mask=brain_mask,
        t1w_to_mni=t1w_to_mni,
        flair_to_t1w=flair_to_t1w,
        native_t1w=NativeImage(t1w.grid, brain_t1w, _noise(t1w, brain_t1w), mode_t1w),
        native_flair=NativeImage(flair.grid, brain_flair, _noise(flair, brain_flair), mode_flair),
    )


def _not_negative(volume: Volume, mask: Mask | None) -> Volume:
    """The image without negative values: the steps after this one divide and take logarithms.

    A few of them are the undershoot of an earlier interpolation and become zero; an image with
    many (z-scores, say) has its zero elsewhere, and is shifted.
    """
    inside = volume.data if mask is None else volume.data[mask]
    shifted = float((inside < 0).mean()) > _MANY_NEGATIVE
    least = float(np.percentile(inside, 0.1)) if shifted else 0.0
    return Volume(np.maximum(volume.data - least, 0).astype(np.float32), volume.affine)


def _noise(volume: Volume, brain: Mask) -> float:
    """Noise around the brain: the air further out would hide it."""
    return noise_level(volume.data[bounding_box(brain)])


def _to_mni(volume: Volume, to_mni: Affine) -> Volume:
    """The image on the MNI grid; cubic, since linear would blur small lesions."""
    sampled = resample(volume, MNI_GRID, to_mni, order=3)
    return Volume(np.maximum(sampled, 0), MNI_GRID.affine)


def _mask_to_mni(mask: Mask, affine: Affine, to_mni: Affine) -> Mask:
    sampled = resample(Volume(mask.astype(np.float32), affine), MNI_GRID, to_mni)
    on_grid: Mask = sampled >= 0.5
    return on_grid
