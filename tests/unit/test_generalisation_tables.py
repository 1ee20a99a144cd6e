"""The experiment's tables say what was measured, in the paper's shape."""

import numpy as np
import pytest

from benchmarks.generalisation.plan import (
    FIRST_TEST_SEED,
    FULL,
    QUICK,
    TRAININGS,
    VARIANTS,
    Scale,
)
from benchmarks.generalisation.tables import (
    ablation_table,
    claims_table,
    consistency,
    consistency_table,
    score,
)
from dlb_core.template import load_template
from dlb_core.volume import Mask


def blocks(*starts: int, size: int = 3) -> Mask:
    """Cubes along a row, apart from one another."""
    mask = np.zeros((40, 8, 8), dtype=bool)
    for start in starts:
        mask[start : start + size, 2:5, 2:5] = True
    return mask


def test_averages_are_over_cases_and_volumes_correlate_over_all() -> None:
    """Worked by hand: one case found whole, one half found with a false lesion beside it."""
    references = [blocks(0), blocks(0, 10)]
    masks = [blocks(0), blocks(0, 20)]

    scored = score(masks, references)

    assert scored.averages["dice"] == pytest.approx((1 + 0.5) / 2)
    assert scored.averages["ppv"] == pytest.approx((1 + 0.5) / 2)
    assert scored.averages["ltpr"] == pytest.approx((1 + 0.5) / 2)
    assert scored.averages["lfpr"] == pytest.approx((0 + 0.5) / 2)
    assert scored.averages["corr"] == pytest.approx(1)
    assert scored.averages["hybrid"] == pytest.approx(0.75 / 8 * 2 + 0.75 / 4 * 2 + 1 / 4)


def test_undefined_measures_are_left_out_of_averages() -> None:
    """A case in which nothing was found has no PPV: 0 would be a made-up figure."""
    scored = score([blocks(), blocks(0)], [blocks(0), blocks(0)])

    assert scored.averages["ppv"] == 1
    assert scored.averages["tpr"] == pytest.approx(0.5)


def test_the_best_figure_of_each_column_is_bold() -> None:
    """LFPR is the one column where less is better."""
    same = dict.fromkeys(("hybrid", "dice", "ppv", "tpr", "ltpr", "corr"), 0.5)
    rows = {"A": {**same, "dice": 0.7, "lfpr": 0.1}, "B": {**same, "lfpr": 0.4, "corr": np.nan}}

    header, _, first, second = ablation_table(rows).splitlines()

    columns = [name.strip() for name in header.split("|")]
    first_cells = dict(zip(columns, (c.strip() for c in first.split("|")), strict=True))
    second_cells = dict(zip(columns, (c.strip() for c in second.split("|")), strict=True))
    assert first_cells["Dice"] == "**0.700**"
    assert second_cells["Dice"] == "0.500"
    assert first_cells["LFPR"] == "**0.100**"
    assert second_cells["LFPR"] == "0.400"
    assert second_cells["CORR"] == "–"


def test_consistency_is_the_mean_dice_between_two_trainings() -> None:
    """Table 10's index."""
    value = consistency([blocks(0), blocks(0)], [blocks(0), blocks(20)])

    assert value == pytest.approx(0.5)
    assert "**0.500**" in consistency_table({"A": value, "B": 0.1}, "a vs. b")


def test_a_claim_is_bold_only_where_it_holds_without_corr_too() -> None:
    """Over three cases CORR is luck: a gain that it alone makes must not look like one."""
    here = {"a": 0.01, "b": -0.02, "c": None, "d": 0.3}
    bare = {"a": 0.02, "b": 0.01, "c": 0.01, "d": -0.01}
    claim = {"claim": "X helps", "paper_in_domain": 0.015, "paper_out_of_domain": 0.011}

    row = claims_table([{**claim, "here": here, "here_without_corr": bare}]).splitlines()[-1]

    assert [cell.strip() for cell in row.split("|")[1:-1]] == [
        "X helps",
        "+0.015",
        "+0.011",
        "**+0.010 (+0.020)**",
        "-0.020 (+0.010)",
        "– (+0.010)",
        "+0.300 (-0.010)",
    ]


def test_the_chosen_networks_hold_the_whole_brain() -> None:
    """A voxel that no network sees would count as missed lesion."""
    brain = load_template().brain_mask
    seen = np.zeros_like(brain)
    for network in FULL.networks:
        assert network.twin is not None
        seen[network.primary.slices] = True
        seen[network.twin.slices] = True

    assert not (brain & ~seen).any()


@pytest.mark.parametrize("scale", [FULL, QUICK], ids=lambda scale: scale.name)
def test_no_subject_is_both_trained_and_tested_on(scale: Scale) -> None:
    """A tested subject that was trained on would make every figure worthless."""
    assert scale.training_subjects <= FIRST_TEST_SEED


def test_the_plan_has_the_papers_rows_and_a_second_training_for_consistency() -> None:
    """Tables 2 and 3 need all variants; table 10 needs two trainings tested on one domain."""
    first, second = TRAININGS

    assert first.variants == VARIANTS
    assert first.domain is not second.domain
    assert set(second.variants) <= set(first.variants)
    assert set(second.tests) <= set(first.tests)
