"""What specialised networks learned of their places, against the generic network, on new samples.

    python -m benchmarks.bench_specialisation --cache CACHE --generic BUNDLE --bundle BUNDLE \\
        --networks 7,18,33 --without 07,19 --recipe RECIPE

Each network and the generic one see the same samples, drawn as in training from the network's own
subvolume and its twin, with seeds that no training uses. Where the two come out alike, the
training data hold nothing of that place that the generic network does not know.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.nn import functional

from dlb_core.checkpoints import Bundle, build_network, fill, open_bundle
from dlb_core.cli.lists import parse_networks, parse_subjects
from dlb_core.metrics import dice
from dlb_core.network import LESION_CLASS, lesion_probability, place
from dlb_core.tiling import NETWORK_LOCATIONS
from dlb_core.training.cache import open_cache
from dlb_core.training.hierarchy import share_out
from dlb_core.training.losses import IGNORED
from dlb_core.training.recipe import find_recipe
from dlb_core.training.samples import Sample, SampleMaker

SEED = 90_000
"""Trainings take their recipe's, and the next 75."""


def measure(bundle: Bundle, index: int, samples: list[Sample]) -> tuple[float, float]:
    """Dice at the vote threshold over all samples as one, and mean cross-entropy."""
    network = place(build_network(bundle.manifest.architecture), torch.device("cpu")).eval()
    fill(network, bundle.load(index), NETWORK_LOCATIONS[index].name)
    found, truth, entropies = [], [], []
    for sample in samples:
        target = torch.from_numpy(sample.target)[None]
        with torch.inference_mode():
            scores = network(torch.from_numpy(sample.image)[None])
        entropies.append(float(functional.cross_entropy(scores, target, ignore_index=IGNORED)))
        counted = target != IGNORED
        probability = lesion_probability(scores)[counted]
        found.append((probability >= bundle.manifest.vote_threshold).numpy())
        truth.append((target[counted] == LESION_CLASS).numpy())
    return dice(np.concatenate(found), np.concatenate(truth)), float(np.mean(entropies))


def main() -> None:
    """Measure and print one table."""
    args = _arguments()
    cases = share_out(open_cache(args.cache), left_out=args.without, validation=frozenset())
    maker = SampleMaker(cases.training, find_recipe(args.recipe))
    generic, special = open_bundle(args.generic), open_bundle(args.bundle)
    table = Table("network", "generic: Dice", "cross-entropy", "specialised: Dice", "cross-entropy")
    rows = []
    for index in args.networks:
        location = NETWORK_LOCATIONS[index]
        own = maker.at(location)
        samples = [
            own.draw(np.random.default_rng([SEED, index, number])) for number in range(args.samples)
        ]
        rows.append((*measure(generic, index, samples), *measure(special, index, samples)))
        table.add_row(location.name, *_figures(rows[-1]))
    table.add_row("mean", *_figures(np.mean(rows, axis=0)))
    Console().print(table)


def _figures(row: Iterable[float]) -> list[str]:
    return [f"{value:.{3 + number % 2}f}" for number, value in enumerate(row)]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--generic", type=Path, required=True, metavar="BUNDLE")
    parser.add_argument("--bundle", type=Path, required=True, help="of specialised networks")
    parser.add_argument("--networks", type=parse_networks, required=True, metavar="NUMBERS")
    parser.add_argument("--without", type=parse_subjects, default=frozenset(), metavar="SUBJECTS")
    parser.add_argument("--recipe", default="synthetic", help="how samples are drawn")
    parser.add_argument("--samples", type=int, default=16, help="per network (default: 16)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
