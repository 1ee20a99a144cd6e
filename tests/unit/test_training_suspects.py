"""Images without labels: lesions are added, and what may be one already is left out."""

from pathlib import Path

import numpy as np
import pytest

from dlb_core.location_atlas import location_atlas
from dlb_core.template import load_template
from dlb_core.training.cache import IMAGE, CaseEntry, open_cache, write_case
from dlb_core.training.losses import IGNORED
from dlb_core.training.recipe import SampleMix
from dlb_core.training.samples import SampleMaker
from dlb_core.training.suspects import may_be_lesion
from dlb_core.volume import Mask
from tests.unit.training_kit import RECIPE, write_training_cache

SPOT = (slice(57, 63), slice(115, 121), slice(99, 105))
"""In the depth of the left hemisphere's white matter."""
GREY_FLAIR = 1.2
LESION_FLAIR = 1.35


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """The template with bright cortex, and one bright spot that might be a lesion."""
    template = load_template()
    flair = template.brain_mask + (GREY_FLAIR - 1) * template.grey_matter
    flair[SPOT] = LESION_FLAIR
    return np.stack([template.t1w / np.median(template.t1w[SPOT]), flair]).astype(np.float32)


@pytest.fixture(scope="module")
def suspects(image: np.ndarray) -> Mask:
    """What the rule says of it."""
    return may_be_lesion(image[1])


def test_a_bright_spot_in_white_matter_may_be_a_lesion(suspects: Mask) -> None:
    """Taught as healthy, it would teach the network to miss lesions."""
    assert suspects[SPOT].all()


def test_bright_cortex_stays_an_example_of_healthy_tissue(suspects: Mask) -> None:
    """It is what such images are for."""
    cortex = location_atlas().cortex

    assert suspects[cortex].mean() < 0.1


def test_what_is_very_bright_may_be_a_lesion_wherever_it_lies(image: np.ndarray) -> None:
    """Cortical lesions are known too."""
    bright = image[1].copy()
    i, j, k = np.argwhere(location_atlas().cortex)[5000]
    bright[i - 2 : i + 3, j - 2 : j + 3, k - 2 : k + 3] = 2.0

    assert may_be_lesion(bright)[i, j, k]


def test_unlabelled_samples_hold_added_lesions_and_ignore_suspects(
    tmp_path: Path, image: np.ndarray
) -> None:
    """The lesion added is a lesion; the image's own bright spot is neither lesion nor healthy."""
    write_training_cache(tmp_path)
    entry = CaseEntry(name="u", subject="4", arrays=[IMAGE])
    write_case(tmp_path, entry, {IMAGE: image.astype(np.float16)})
    mix = SampleMix(labelled=0, unlabelled=1)
    recipe = RECIPE.model_copy(update={"mix": mix, "subvolume_size": 32})
    maker = SampleMaker(open_cache(tmp_path), recipe)

    targets = [maker.draw(np.random.default_rng(seed)).target for seed in range(8)]

    assert any((target == 1).any() for target in targets)
    assert any((target == IGNORED).any() for target in targets)
    assert all((target == 0).any() for target in targets)
    assert {int(v) for target in targets for v in np.unique(target)} == {0, 1, IGNORED}


def test_a_recipe_asks_for_unlabelled_images_only_if_there_are_any(tmp_path: Path) -> None:
    """Most data sets have none."""
    write_training_cache(tmp_path)
    recipe = RECIPE.model_copy(update={"mix": SampleMix(labelled=1, unlabelled=5)})

    sample = SampleMaker(open_cache(tmp_path), recipe).draw(np.random.default_rng(0))

    assert (sample.target != IGNORED).all()
