"""The light of the input: what it measures, when it changes, and that the networks have no say."""

import numpy as np
import pytest

from dlb_core.input_statistics import TRAITS, input_statistics
from dlb_core.input_trust import KNOWN, judge_statistics, trust_check
from dlb_core.report.document import CheckStatus
from dlb_core.template import load_template
from tests.unit.images import flair_contrast

MIDDLE = {name: (low + high) / 2 for name, (low, high) in KNOWN.items()}


@pytest.fixture(scope="module")
def scans() -> dict[str, np.ndarray]:
    """A patient who is the template."""
    template = load_template()
    t1w = template.t1w / np.median(template.t1w[template.white_matter > 0.95])
    return {
        "t1w": np.where(template.brain_mask, t1w, 0).astype(np.float32),
        "flair": flair_contrast(),
        "brain_mask": template.brain_mask,
        "t1w_to_mni": np.diag([1.1, 1.1, 1.1, 1.0]),
    }


@pytest.fixture(scope="module")
def statistics(scans: dict[str, np.ndarray]) -> dict[str, float]:
    return input_statistics(**scans)


def test_every_trait_has_a_known_range() -> None:
    assert list(KNOWN) == [trait.name for trait in TRAITS]
    assert all(low < high for low, high in KNOWN.values())


def test_the_numbers_are_the_images_own(statistics: dict[str, float]) -> None:
    """Known by how the images were made: grey matter 1.15 on FLAIR, a brain scaled by 1.1."""
    assert statistics["flair_grey"] == pytest.approx(1.15, abs=0.05)
    assert statistics["flair_fluid"] == pytest.approx(0.3, abs=0.1)
    assert statistics["head_scale"] == pytest.approx(1.331)
    assert statistics["template_dice"] == 1
    assert statistics["template_correlation"] == pytest.approx(1)
    assert 0.5 < statistics["t1w_fluid"] + statistics["t1w_grey"] < 1.5
    assert statistics["t1w_bright"] == pytest.approx(0, abs=0.01)


def test_inside_all_ranges_the_input_is_familiar() -> None:
    trust = judge_statistics(MIDDLE)

    assert trust.status is CheckStatus.PASS
    assert trust.deviation == 0
    assert trust_check(trust).status is CheckStatus.PASS
    assert trust_check(trust).message == ""


@pytest.mark.parametrize(("widths", "status"), [(0.4, CheckStatus.WARN), (1.6, CheckStatus.FAIL)])
@pytest.mark.parametrize("name", list(KNOWN))
def test_one_trait_outside_changes_the_light(name: str, widths: float, status: CheckStatus) -> None:
    """By how many widths of the known range it lies outside; either end counts."""
    low, high = KNOWN[name]
    for value in (high + widths * (high - low), low - widths * (high - low)):
        trust = judge_statistics(MIDDLE | {name: value})

        assert trust.status is status
        assert trust.deviation == pytest.approx(widths, abs=0.01)


def test_the_check_warns_and_names_what_is_unlike() -> None:
    """It stops no case, however strange: the caller decides."""
    trust = judge_statistics(MIDDLE | {"flair_fluid": 3.0})
    check = trust_check(trust)

    assert trust.status is CheckStatus.FAIL
    assert check.status is CheckStatus.WARN
    assert "FLAIR: fluid over white matter" in check.message


def test_what_cannot_be_measured_is_strange() -> None:
    trust = judge_statistics(MIDDLE | {"t1w_grey": float("nan")})

    assert trust.status is CheckStatus.FAIL
    assert trust.deviation is None
    assert next(trait for trait in trust.traits if trait.name == "t1w_grey").value is None
    assert trust_check(trust).status is CheckStatus.WARN


def test_swapped_images_are_unlike_what_is_known(scans: dict[str, np.ndarray]) -> None:
    """Seen in the traits alone, with no check of the contrast's order and no network."""
    swapped = scans | {"t1w": scans["flair"], "flair": scans["t1w"]}

    outside = {
        trait.name
        for trait in judge_statistics(input_statistics(**swapped)).traits
        if trait.deviation
    }

    assert {"t1w_grey", "flair_grey"} <= outside
