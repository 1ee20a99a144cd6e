"""Join bundles by averaging their weights, place by place.

Trainings that start from one network and differ in samples or loss end in weights whose mean often
does better than each of them, at the cost of one. And a mean of a network and of what it was tuned
to often keeps more of what the first one knew of other images.

Source: Wortsman et al., "Model soups", ICML 2022, PMLR 162, 23965-23998 (the uniform soup);
Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, 7959-7971.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from dlb_core.checkpoints import Bundle, write_bundle
from dlb_core.errors import InputError
from dlb_core.model_facts import Facts, Training, TrainingRun


def average_bundles(
    bundles: Sequence[Bundle],
    folder: Path,
    *,
    shares: Sequence[float] = (),
    name: str,
    version: str,
    description: str,
) -> Bundle:
    """Write the bundle whose weights are the mean of the given ones'.

    Parameters
    ----------
    bundles : sequence of Bundle
        Two or more, of one network or of 75.
    folder : Path
        Made if missing; none of the given bundles' own.
    shares : sequence of float
        How much each bundle counts, in their order; all alike unless given.

    Raises
    ------
    InputError
        They cannot be averaged: too few, of different architectures or vote thresholds, the same
        one twice. Or the shares are not theirs, or the folder is one of theirs.
    CheckpointCorrupt
        A network's weights are not those of its manifest.
    """
    _require_alike(bundles)
    shares = _shares(shares, len(bundles))
    if folder.resolve() in (bundle.folder.resolve() for bundle in bundles):
        raise InputError(f"{folder} holds one of the bundles to average: write to another folder")
    manifest = bundles[0].manifest
    return write_bundle(
        folder,
        lambda index: _mean([bundle.load(index) for bundle in bundles], shares),
        name=name,
        version=version,
        description=description,
        architecture=manifest.architecture,
        vote_threshold=manifest.vote_threshold,
        training={
            "mean_of": [
                {
                    "bundle": f"{bundle.manifest.name} {bundle.manifest.version}",
                    "bundle_sha256": bundle.sha256,
                    "share": share,
                    "training": bundle.manifest.training,
                }
                for bundle, share in zip(bundles, shares, strict=True)
            ],
            "cases": [],
            "start_cases": sorted(frozenset().union(*(b.manifest.seen_cases for b in bundles))),
        },
        facts=Facts(training=_all_runs(bundles)),
        shared_file="generic.safetensors" if all(map(_is_one_network, bundles)) else None,
    )


def _require_alike(bundles: Sequence[Bundle]) -> None:
    if len(bundles) < 2:
        raise InputError("a mean is of two bundles or more")
    if len({bundle.weights_sha256 for bundle in bundles}) < len(bundles):
        raise InputError("two of these bundles have the same weights")
    traits: dict[str, list[object]] = {
        "architecture": [bundle.manifest.architecture for bundle in bundles],
        "vote threshold": [bundle.manifest.vote_threshold for bundle in bundles],
    }
    for trait, values in traits.items():
        if any(value != values[0] for value in values):
            raise InputError(f"these bundles differ in their {trait}: they have no mean")


def _shares(given: Sequence[float], count: int) -> list[float]:
    """What each bundle counts, together 1."""
    shares = list(given) or [1.0] * count
    if len(shares) != count or min(shares) <= 0 or not math.isfinite(sum(shares)):
        raise InputError(f"shares: give one number above 0 for each of the {count} bundles")
    return [share / sum(shares) for share in shares]


def _is_one_network(bundle: Bundle) -> bool:
    return len({entry.sha256 for entry in bundle.manifest.networks}) == 1


def _mean(weights: Sequence[dict[str, Tensor]], shares: Sequence[float]) -> dict[str, Tensor]:
    counts = torch.tensor(shares)
    return {
        key: torch.tensordot(counts, torch.stack([each[key] for each in weights]), dims=1)
        for key in weights[0]
    }


def _all_runs(bundles: Sequence[Bundle]) -> Training | None:
    """Every run that had a part in it, those that several share once."""
    known = [b.manifest.facts.training if b.manifest.facts else None for b in bundles]
    if not all(known):
        return None
    trainings = [training for training in known if training]
    return Training(
        runs=tuple(_once(run for training in trainings for run in training.runs)),
        from_nothing=all(training.from_nothing for training in trainings),
    )


def _once(runs: Iterator[TrainingRun]) -> list[TrainingRun]:
    different: list[TrainingRun] = []
    for run in runs:
        if run not in different:
            different.append(run)
    return different
