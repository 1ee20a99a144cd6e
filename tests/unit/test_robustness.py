"""The altered runs change what they say, keep white matter and background, and sum up right."""

import numpy as np
import pytest

from dlb_core.robustness import ALTERATIONS, altered, summarise_runs


def image() -> tuple[np.ndarray, np.ndarray]:
    """White matter of 1 with a lesion of 2, in a brain that fills most of the box."""
    brain = np.zeros((24, 24, 24), dtype=bool)
    brain[3:21, 3:21, 3:21] = True
    one = brain.astype(np.float32)
    one[11:13, 11:13, 11:13] = 2
    return np.stack([one, one]), brain


@pytest.mark.parametrize("alteration", ALTERATIONS, ids=lambda each: each.name)
def test_an_alteration_weakens_lesions_and_leaves_the_rest(alteration: object) -> None:
    """What is outside the brain stays zero: anything else would be a brain nobody has."""
    before, brain = image()

    after = altered(before, brain, alteration)  # type: ignore[arg-type]

    assert after.dtype == np.float32
    assert not after[:, ~brain].any()
    assert (after[:, 11:13, 11:13, 11:13] > 1).all()
    assert (after[:, 11:13, 11:13, 11:13] < 1.99).all()
    assert after[0, 7, 7, 7] == pytest.approx(1, abs=1e-3)


def test_thick_slices_mix_along_the_axial_axis_only() -> None:
    before, brain = image()
    slices = next(each for each in ALTERATIONS if each.name == "slices")

    after = altered(before, brain, slices)[0]

    assert after[11, 11, 10] > 1.2
    assert after[11, 10, 11] == pytest.approx(1)


def test_the_interval_holds_every_run_and_the_cases_own() -> None:
    """Volumes in the patient's own space: a voxel of half a mm3."""
    own, less, none = (np.zeros((10, 10, 10), dtype=bool) for _ in range(3))
    own[:4, :5, :5] = True
    less[:2, :5, :5] = True

    found = summarise_runs(own, {"blur": (less, 3), "slices": (none, 0)}, voxel_mm3=0.5)

    assert found.lesion_volume_low_ml == 0
    assert found.lesion_volume_high_ml == pytest.approx(0.05)
    assert [run.name for run in found.runs] == ["blur", "slices"]
    assert found.runs[0].lesion_volume_ml == pytest.approx(0.025)
    assert found.runs[0].lesion_count == 3
    assert found.runs[0].overlap_dice == pytest.approx(2 / 3)
    assert found.runs[1].overlap_dice == 0


def test_runs_without_lesions_agree() -> None:
    empty = np.zeros((4, 4, 4), dtype=bool)

    assert summarise_runs(empty, {"blur": (empty, 0)}, voxel_mm3=1).runs[0].overlap_dice == 1
