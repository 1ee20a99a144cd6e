"""A simulated subject is what preprocessing would hand over, and a function of domain and seed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dlb_core.errors import RunBusy
from dlb_core.lesions import label_lesions
from dlb_core.preprocessing.normalise import white_matter_mode
from dlb_core.synthesis.domains import DOMAINS, INHOUSE_LIKE, ISBI_LIKE, Domain
from dlb_core.synthesis.simulation import simulate_case
from dlb_core.template import MNI_GRID, load_template
from dlb_core.training.cache import CachedCase, filling, open_cache, read_index
from dlb_core.training.simulated import simulate_dataset

COARSE = 5


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "cache"
    simulate_dataset(ISBI_LIKE, [7], folder, coarsening=COARSE)
    return folder


@pytest.fixture(scope="module")
def case(cache: Path) -> CachedCase:
    return open_cache(cache)[0]


def test_one_domain_and_seed_give_one_subject(case: CachedCase) -> None:
    """Figures on simulated domains can only be repeated if the subjects can."""
    again = simulate_case(ISBI_LIKE, 7, coarsening=COARSE)

    assert case.image is not None
    assert case.lesions is not None
    np.testing.assert_array_equal(again.image, case.image)
    np.testing.assert_array_equal(again.lesions, case.lesions)


def test_the_cached_case_is_as_preprocessing_leaves_one(case: CachedCase) -> None:
    """Training and inference expect this grid, these types, this scale."""
    assert case.image is not None
    assert case.lesions is not None
    assert case.image.shape == (2, *MNI_GRID.shape)
    assert case.image.dtype == np.float16
    assert case.lesions.dtype == np.uint8
    core = load_template().white_matter > 0.9
    for image in case.image:
        values = image[core & (image > 0)].astype(np.float32)
        assert white_matter_mode(values).value == pytest.approx(1, abs=0.03)
    outside = case.image.max(axis=0) == 0
    assert 0.5 < outside.mean() < 0.9
    assert not case.lesions[outside].any()


def test_lesions_are_bright_in_flair_and_dark_in_t1w(case: CachedCase) -> None:
    """Otherwise there would be nothing to learn."""
    assert case.image is not None
    assert case.lesions is not None
    inside = case.lesions > 0
    t1w, flair = case.image.astype(np.float32)

    assert label_lesions(inside).max() > 10
    assert flair[inside].mean() > 1.15
    assert t1w[inside].mean() < 0.95


def test_a_subject_is_simulated_once_and_again_when_settings_change(cache: Path) -> None:
    """A cache that silently kept another domain's subjects would falsify an experiment."""
    before = read_index(cache)

    kept = simulate_dataset(ISBI_LIKE, [7], cache, coarsening=COARSE)
    unchanged = read_index(cache)
    renewed = simulate_dataset(replace(ISBI_LIKE, outline=0.2), [7], cache, coarsening=COARSE)

    assert (kept, renewed) == (0, 1)
    assert unchanged == before
    assert [e.name for e in read_index(cache)] == ["isbi-like-0007"]
    assert read_index(cache) != before


@pytest.mark.parametrize("domain", DOMAINS.values(), ids=lambda domain: domain.name)
def test_every_range_is_in_order(domain: Domain) -> None:
    """A reversed range would be drawn from without a word."""
    ranges = [domain.lesion_load_ml]
    for site in domain.sites:
        values = [getattr(site, name) for name in site.__slots__]
        ranges += [v for v in values if isinstance(v, tuple) and len(v) == 2]

    assert len(ranges) == 1 + 8 * len(domain.sites)
    assert all(0 < low < high for low, high in ranges)


def test_no_two_domains_share_a_subject() -> None:
    """The same random brain in two domains would make them look more alike than they are."""
    assert len({domain.number for domain in DOMAINS.values()}) == len(DOMAINS) == 3
    assert INHOUSE_LIKE.name in DOMAINS


def test_a_cache_that_another_process_fills_is_left_alone(tmp_path: Path) -> None:
    """Two that write the index at once lose cases."""
    with filling(tmp_path), pytest.raises(RunBusy, match="in use by another process"):
        simulate_dataset(ISBI_LIKE, [7], tmp_path, coarsening=COARSE)
    assert read_index(tmp_path) == []
