"""The shipped weights on a phantom, against stored numbers.

The phantom is painted on the MNI grid: template tissues in flat intensities, three spheres as
lesions. When the bundle changes on purpose, run this file with `-s` and store what it prints.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dlb_core.bundled import default_bundle
from dlb_core.checkpoints import Bundle, build_network, fill, open_bundle
from dlb_core.network import lesion_probability
from dlb_core.template import load_template
from dlb_core.tiling import NETWORK_LOCATIONS, cut

STORED = Path(__file__).with_name("shipped_weights.json")
SPHERES = ((66, 88, 98, 5), (64, 120, 100, 3), (60, 70, 96, 4))
"""Centre (voxels of the MNI grid) and radius: left hemisphere's white matter."""
NETWORKS = (6, 12, 37, 62)
"""Of the outer and the inner column, the latter one that thinks on the right, and a median one."""


@pytest.fixture(scope="module")
def phantom() -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Image pair (2, I, J, K) and lesions."""
    template = load_template()
    white, grey = template.white_matter, template.grey_matter
    fluid = np.clip(template.brain_mask - white - grey, 0, 1)
    t1w = white + 0.7 * grey + 0.3 * fluid
    flair = white + 1.15 * grey + 0.3 * fluid
    lesions = np.zeros(template.brain_mask.shape, dtype=bool)
    ijk = np.indices(lesions.shape)
    for i, j, k, radius in SPHERES:
        centre = np.reshape((i, j, k), (3, 1, 1, 1))
        lesions |= ((ijk - centre) ** 2).sum(0) <= radius**2
    t1w[lesions], flair[lesions] = 0.75, 1.6
    noise = np.random.default_rng(0).normal(0, 0.02, (2, *lesions.shape))
    image = (np.stack([t1w, flair]) + noise) * template.brain_mask
    return image.astype(np.float32), lesions


def _measure(bundle: Bundle, index: int, image: NDArray[np.float32]) -> NDArray[np.float32]:
    network = build_network(bundle.manifest.architecture)
    fill(network, bundle.load(index), str(index))
    subvolume = np.ascontiguousarray(_left_as_seen(image, index)[None])
    with torch.inference_mode():
        return np.asarray(lesion_probability(network(torch.from_numpy(subvolume)))[0])


def _left_as_seen(volume: NDArray[Any], index: int) -> NDArray[Any]:
    location = NETWORK_LOCATIONS[index]
    return cut(volume, location.left, flipped=location.mirrors_left)


@pytest.mark.parametrize("index", NETWORKS)
def test_the_phantoms_lesions_are_found_as_before(
    index: int, phantom: tuple[NDArray[np.float32], NDArray[np.bool_]]
) -> None:
    """A change of weights, network or libraries shows here first."""
    image, lesions = phantom
    bundle = open_bundle(default_bundle())
    probability = _measure(bundle, index, image)
    here = _left_as_seen(lesions, index)
    found = probability >= bundle.manifest.vote_threshold
    measured = {
        "lesion_voxels": int(here.sum()),
        "found_voxels": int(found.sum()),
        "mean_probability_in_lesions": round(float(probability[here].mean()), 4),
        "mean_probability_elsewhere": round(float(probability[~here].mean()), 6),
    }
    print(json.dumps({str(index): measured}))

    expected = json.loads(STORED.read_text())[str(index)]

    assert measured["lesion_voxels"] == expected["lesion_voxels"] > 0
    assert measured["found_voxels"] == pytest.approx(expected["found_voxels"], rel=0.01, abs=3)
    assert measured["mean_probability_in_lesions"] == pytest.approx(
        expected["mean_probability_in_lesions"], abs=0.003
    )
    assert measured["mean_probability_elsewhere"] == pytest.approx(
        expected["mean_probability_elsewhere"], rel=0.05, abs=1e-5
    )
    assert expected["mean_probability_in_lesions"] > 20 * expected["mean_probability_elsewhere"]
