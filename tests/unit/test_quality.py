"""Quality checks, on a template patient spoilt in one way at a time."""

from dataclasses import replace

import numpy as np
import pytest

from dlb_core.errors import QualityFailed
from dlb_core.input_statistics import normalised_mutual_information
from dlb_core.preprocessing.normalise import Mode
from dlb_core.preprocessing.steps import NativeImage, PreprocessedCase
from dlb_core.quality import assess, coverage, require_passed
from dlb_core.report.document import CheckStatus, QualityCheck
from dlb_core.template import MNI_GRID, load_template
from dlb_core.volume import Grid
from tests.unit.images import flair_contrast, rigid

TO_MNI = np.diag([1.1, 1.1, 1.1, 1.0])
"""World mm of somebody whose brain is a little smaller than the template's."""


@pytest.fixture(scope="module")
def case() -> PreprocessedCase:
    """A patient who is the template, with a little noise: all is well."""
    rng = np.random.default_rng(0)
    template = load_template()
    noise = rng.normal(1, 0.02, (2, *MNI_GRID.shape)).astype(np.float32)
    t1w = template.t1w / np.median(template.t1w[template.white_matter > 0.95])
    grid = Grid(MNI_GRID.shape, np.linalg.inv(TO_MNI) @ MNI_GRID.affine)
    native = NativeImage(grid, template.brain_mask, noise=10.0, white_matter=Mode(400.0, False))
    return PreprocessedCase(
        t1w=np.where(template.brain_mask, t1w * noise[0], 0).astype(np.float32),
        flair=flair_contrast() * noise[1],
        brain_mask=template.brain_mask,
        t1w_to_mni=TO_MNI,
        flair_to_t1w=np.eye(4),
        native_t1w=native,
        native_flair=native,
    )


def _status(case: PreprocessedCase, name: str) -> CheckStatus:
    return next(check for check in assess(case) if check.name == name).status


def test_a_sound_case_passes_every_check(case: PreprocessedCase) -> None:
    """And each check says what it measured and what it asks for."""
    checks = assess(case)

    assert {check.status for check in checks} == {CheckStatus.PASS}
    assert len({check.name for check in checks}) == len(checks)
    assert all(check.threshold and check.title for check in checks)
    require_passed(checks)


def test_swapped_images_fail(case: PreprocessedCase) -> None:
    """The commonest mistake: both are brains, and everything else passes."""
    swapped = replace(case, t1w=case.flair, flair=case.t1w)

    assert _status(swapped, "contrast_order") is CheckStatus.FAIL


def test_one_image_sent_twice_does_not_pass(case: PreprocessedCase) -> None:
    """Its contrast is the same in both places."""
    assert _status(replace(case, flair=case.t1w), "contrast_order") is not CheckStatus.PASS


def test_bright_fluid_fails(case: PreprocessedCase) -> None:
    """A T2-weighted image sent as FLAIR would light up with false lesions."""
    template = load_template()
    fluid = np.clip(1 - template.white_matter - template.grey_matter, 0, 1)
    t2w = case.flair + np.where(case.brain_mask, 1.5 * fluid, 0)

    assert _status(replace(case, flair=t2w), "flair_fluid") is CheckStatus.FAIL


@pytest.mark.parametrize(
    ("shift_mm", "status"),
    [(4, CheckStatus.PASS), (12, CheckStatus.WARN), (20, CheckStatus.FAIL)],
)
def test_a_misplaced_brain_is_noticed(
    case: PreprocessedCase, shift_mm: int, status: CheckStatus
) -> None:
    """By its outline, which forgives a few millimetres: people differ from the template."""
    moved = np.roll(case.brain_mask, shift_mm, axis=1)

    assert _status(replace(case, brain_mask=moved), "registration_dice") is status


def test_misplaced_tissue_is_noticed(case: PreprocessedCase) -> None:
    """An outline can fit by chance, upside down for one."""
    moved = replace(case, t1w=np.roll(case.t1w, 20, axis=1))
    inverted = replace(case, t1w=np.where(case.brain_mask, 2 - case.t1w, 0))

    assert _status(moved, "registration_similarity") is CheckStatus.WARN
    assert _status(inverted, "registration_similarity") is CheckStatus.FAIL


@pytest.mark.parametrize(("shift_mm", "status"), [(12, CheckStatus.WARN), (30, CheckStatus.FAIL)])
def test_a_flair_that_does_not_fit_its_t1w_is_noticed(
    case: PreprocessedCase, shift_mm: int, status: CheckStatus
) -> None:
    """Somebody else's, or one whose registration failed."""
    other = replace(case, flair=np.roll(case.flair, shift_mm, axis=1))

    assert _status(other, "flair_alignment") is status


@pytest.mark.parametrize(
    ("scale", "status"),
    [(1.0, CheckStatus.PASS), (0.8, CheckStatus.WARN), (0.6, CheckStatus.FAIL)],
)
def test_an_implausible_brain_volume_is_noticed(
    case: PreprocessedCase, scale: float, status: CheckStatus
) -> None:
    """Measured in the patient's own space: the template's brain is 1.9 l, a person's is not."""
    grid = Grid(MNI_GRID.shape, np.diag([scale, scale, scale, 1]) @ case.native_t1w.grid.affine)

    odd = replace(case, native_t1w=replace(case.native_t1w, grid=grid))

    assert _status(odd, "brain_volume") is status


@pytest.mark.parametrize(
    ("slices", "status"),
    [(150, CheckStatus.PASS), (120, CheckStatus.WARN), (60, CheckStatus.FAIL)],
)
def test_a_brain_cut_off_by_the_field_of_view_is_noticed(
    case: PreprocessedCase, slices: int, status: CheckStatus
) -> None:
    """Lesions outside of it are not found, and a report must say so."""
    grid = Grid((181, 217, slices), case.native_flair.grid.affine)

    cut = replace(case, native_flair=replace(case.native_flair, grid=grid))

    assert _status(cut, "coverage_flair") is status
    assert _status(cut, "coverage_t1w") is CheckStatus.PASS


def test_a_cut_brain_is_not_blamed_on_registration(case: PreprocessedCase) -> None:
    """Its mask is compared with the part of the template that the T1w shows."""
    seen = case.brain_mask.copy()
    seen[:, :, 110:] = False
    grid = Grid((181, 217, 110), case.native_t1w.grid.affine)

    cut = replace(case, brain_mask=seen, native_t1w=replace(case.native_t1w, grid=grid))

    assert _status(cut, "registration_dice") is CheckStatus.PASS


@pytest.mark.parametrize("role", ["t1w", "flair"])
def test_the_acquisition_of_each_image_is_judged(case: PreprocessedCase, role: str) -> None:
    """Each by its own measures, and an ambiguous mode is a warning."""
    native = getattr(case, f"native_{role}")
    thick = Grid((181, 217, 40), native.grid.affine @ np.diag([1, 1, 6.0, 1]))

    def spoilt(**changes: object) -> PreprocessedCase:
        return replace(case, **{f"native_{role}": replace(native, **changes)})

    assert _status(spoilt(grid=thick), f"resolution_{role}") is CheckStatus.WARN
    assert _status(spoilt(noise=50.0), f"snr_{role}") is CheckStatus.WARN
    assert _status(spoilt(noise=200.0), f"snr_{role}") is CheckStatus.FAIL
    assert _status(spoilt(noise=0.0), f"snr_{role}") is CheckStatus.PASS
    ambiguous = spoilt(white_matter=Mode(400.0, ambiguous=True))
    assert _status(ambiguous, f"white_matter_{role}") is CheckStatus.WARN


def test_an_empty_brain_fails_and_breaks_nothing(case: PreprocessedCase) -> None:
    """Whatever went wrong before, the user gets reasons and not a division by zero."""
    nothing = np.zeros(MNI_GRID.shape, dtype=bool)

    checks = assess(replace(case, brain_mask=nothing))

    failed = {check.name for check in checks if check.status is CheckStatus.FAIL}
    assert {"registration_dice", "registration_similarity", "contrast_order"} <= failed
    with pytest.raises(QualityFailed, match="not measurable"):
        require_passed(checks)


def test_a_failure_says_which_check_and_how_to_go_on() -> None:
    """Warnings do not stop a case."""

    def check(name: str, status: CheckStatus) -> QualityCheck:
        return QualityCheck(
            name=name, title=name, status=status, value=0.5, threshold=">= 0.9", message="Look."
        )

    warned = check("worn", CheckStatus.WARN)
    require_passed([warned])

    with pytest.raises(QualityFailed) as caught:
        require_passed([warned, check("torn", CheckStatus.FAIL)])

    message = str(caught.value)
    assert "torn: 0.5, asked for >= 0.9. Look." in message
    assert "worn" not in message
    assert "ignore_quality_failures" in message


def test_mutual_information_runs_from_one_to_two() -> None:
    """Unrelated samples share nothing; any one-to-one mapping is as good as identity."""
    rng = np.random.default_rng(0)
    first, second = rng.random((2, 200_000))

    assert normalised_mutual_information(first, second) == pytest.approx(1, abs=0.01)
    assert normalised_mutual_information(first, -3 * first + 7) == pytest.approx(2, abs=0.01)
    assert normalised_mutual_information(np.ones(10), np.ones(10)) == 1


def test_coverage_is_the_share_of_the_region_in_view() -> None:
    """Worked by hand: 30 of a region's 40 slices lie within the field of view."""
    region = np.zeros(MNI_GRID.shape, dtype=bool)
    region[50:60, 50:60, 100:140] = True
    view = Grid((181, 217, 130), MNI_GRID.affine)

    assert coverage(view, np.eye(4), region) == 0.75
    assert coverage(view, rigid(shift_mm=(0, 0, 200)), region) == 0
