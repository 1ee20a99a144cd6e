"""A whole training as a message: what `dlb train` was asked for, for whoever carries it out."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from dlb_core.checkpoints import Bundle
from dlb_core.contracts import Message
from dlb_core.errors import BadOption
from dlb_core.training.cache import open_cache
from dlb_core.training.hierarchy import BundleIdentity, Hierarchy, share_out
from dlb_core.training.recipe import Initialisation, Recipe
from dlb_core.training.start import generic_start

AnyPath = Annotated[Path, Field(strict=False)]


class Plan(Message):
    """All that decides a bundle, given the cache. Paths hold on every machine that takes part."""

    cache: AnyPath
    run: AnyPath
    bundle: AnyPath
    recipe: Recipe
    left_out_subjects: list[str]
    validation_subjects: list[str]
    initialise_from: AnyPath | None
    """Weights that the generic network starts from."""
    from_bundle: AnyPath | None
    """Bundle whose networks are trained on, without a generic one."""
    generic_only: bool
    identity: BundleIdentity
    new_card: bool
    checkpoint_every_s: float

    def open(self, *, device: str) -> Hierarchy:
        """Open the cache and the weights to start from.

        Raises
        ------
        InputError
            The plan cannot be followed with these cases.
        CheckpointCorrupt
            Weights to start from cannot be read.
        """
        if self.recipe.initialisation is not Initialisation.HSL and (
            self.generic_only or self.from_bundle or self.initialise_from
        ):
            raise BadOption(
                "--initialisation: --generic-only, --from-bundle and --initialise-from say "
                "themselves where networks start from; give one of them"
            )
        cases = share_out(
            open_cache(self.cache),
            left_out=frozenset(self.left_out_subjects),
            validation=frozenset(self.validation_subjects),
        )
        return Hierarchy(
            self.run,
            self.recipe,
            cases,
            start=generic_start(self.initialise_from) if self.initialise_from else None,
            tuned_bundle=self.from_bundle,
            device=device,
            checkpoint_every_s=self.checkpoint_every_s,
        )

    def write_bundle(self, hierarchy: Hierarchy) -> Bundle:
        """Write the bundle of a training whose networks are all there."""
        return hierarchy.write_bundle(
            self.bundle,
            self.identity,
            generic_only=self.generic_only,
            new_card=self.new_card,
        )
