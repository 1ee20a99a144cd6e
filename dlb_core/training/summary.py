"""A training in numbers, for the manifest: how long, from what samples, on how many cases."""

from collections.abc import Sequence

from dlb_core.checkpoints import Manifest
from dlb_core.model_facts import CaseCounts, SampleShares, Training, TrainingRun
from dlb_core.training.cache import CachedCase
from dlb_core.training.recipe import Recipe


def summarise_run(
    recipe: Recipe,
    cases: Sequence[CachedCase],
    *,
    first_stage: str,
    generic_only: bool,
    num_validation: int,
) -> TrainingRun:
    """What `dlb train` did by a recipe.

    Parameters
    ----------
    recipe : Recipe
    cases : sequence of CachedCase
        Those trained on.
    first_stage : str
        What the 75 networks started from in this run; empty if from nothing of it.
    generic_only : bool
        The 75 were not trained.
    num_validation : int
        Cases held back to choose the weights by.
    """
    own = recipe.specialisation
    return TrainingRun(
        recipe=recipe.name,
        first_stage=first_stage,
        first_stage_steps=recipe.num_steps if first_stage else 0,
        network_steps=0 if generic_only or own is None else own.num_steps,
        early_stopping=num_validation > 0,
        batch_size=recipe.batch_size,
        cube_voxels=recipe.subvolume_size,
        samples=sample_shares(recipe, cases),
        cases=count_cases(cases, num_validation=num_validation),
    )


def after(earlier: Manifest | None, run: TrainingRun, *, from_nothing: bool) -> Training:
    """A run behind those that made what it started from, as far as that bundle knows them."""
    known = earlier.facts.training if earlier and earlier.facts else None
    if known is None:
        return Training(runs=(run,), from_nothing=from_nothing)
    return Training(runs=(*known.runs, run), from_nothing=known.from_nothing)


def count_cases(cases: Sequence[CachedCase], *, num_validation: int = 0) -> CaseCounts:
    """Count cases by what they hold; one with images and tissue labels is counted as both."""
    return CaseCounts(
        labelled=sum(case.is_labelled for case in cases),
        unlabelled=sum(_is_unlabelled(case) for case in cases),
        anatomies=sum(case.tissues is not None for case in cases),
        lesion_masks=sum(case.image is None and case.lesions is not None for case in cases),
        validation=num_validation,
    )


def sample_shares(recipe: Recipe, cases: Sequence[CachedCase]) -> SampleShares:
    """A recipe's mix as it was with these cases: `SampleMaker` refuses what they cannot give."""
    mix = recipe.mix.model_dump()
    lesions = any(case.lesions is not None for case in cases)
    if not (lesions and any(_is_unlabelled(case) for case in cases)):
        mix["unlabelled"] = 0.0
    total = sum(mix.values())
    return SampleShares(**{kind: round(share / total, 6) for kind, share in mix.items()})


def _is_unlabelled(case: CachedCase) -> bool:
    return case.image is not None and case.lesions is None
