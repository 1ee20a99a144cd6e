"""A training run's settings: `paper` as published, `compact` for small compute."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from dlb_core.contracts import Message
from dlb_core.errors import BadOption, InputError
from dlb_core.network import Architecture
from dlb_core.training.losses import LossName

Share = Annotated[float, Field(ge=0, le=1)]


class Schedule(StrEnum):
    """How the learning rate moves over a run's steps."""

    CONSTANT = "constant"
    COSINE = "cosine"


class Initialisation(StrEnum):
    """What the 75 networks start from: the paper's way, and those it is compared with."""

    HSL = "hsl"
    """From the generic network."""
    NONE = "none"
    """From random weights."""
    NEIGHBOUR = "neighbour"
    """Each from the nearest network trained before it, the first from random weights."""
    RESTORATION = "restoration"
    """From a network that learned to restore distorted images."""


class SampleMix(Message):
    """Where samples come from; shares, relative to one another."""

    labelled: Annotated[float, Field(ge=0, description="real images, real lesions")] = 1.0
    transplanted: Annotated[float, Field(ge=0, description="real images, lesions added")] = 0.0
    unlabelled: Annotated[
        float,
        Field(ge=0, description="real images without labels, lesions added; if there are any"),
    ] = 0.0
    synthesised: Annotated[float, Field(ge=0, description="images from tissue labels")] = 0.0


class Specialisation(Message):
    """How a network goes on in its own place alone, and from what."""

    initialisation: Annotated[Initialisation, Field(strict=False)] = Initialisation.HSL
    num_steps: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    schedule: Annotated[Schedule, Field(strict=False)]


class Recipe(Message):
    """Everything that decides the weights, given the data."""

    name: str
    architecture: Architecture
    loss: Annotated[LossName, Field(strict=False)]
    subvolume_size: Annotated[int, Field(ge=8, description="edge of a training cube, voxels")]
    batch_size: Annotated[int, Field(ge=1)]
    num_steps: Annotated[int, Field(ge=1)]
    learning_rate: Annotated[float, Field(gt=0)]
    schedule: Annotated[Schedule, Field(strict=False)] = Schedule.CONSTANT
    steps_per_epoch: Annotated[int, Field(ge=1, description="steps between validations")] = 100
    patience: Annotated[int, Field(ge=1, description="epochs without a better loss")] = 50
    lesion_centred: Annotated[Share, Field(description="subvolumes centred on a lesion")] = 0.0
    mix: SampleMix = SampleMix()
    quality_augmentation: bool = True
    intensity_augmentation: bool = False
    pose_augmentation: Annotated[bool, Field(description="turned and scaled a little")] = False
    early_stopping: Annotated[bool, Field(description="needs validation subjects")] = False
    specialisation: Annotated[Specialisation | None, Field(description="None: none known")] = None
    seed: int = 0

    @property
    def initialisation(self) -> Initialisation:
        """What specialised networks start from."""
        return self.specialisation.initialisation if self.specialisation else Initialisation.HSL

    def for_network(self, index: int) -> "Recipe":
        """The recipe by which network `index`, 0 to 74, is specialised.

        Raises
        ------
        InputError
            This recipe does not say how.
        """
        if self.specialisation is None:
            raise InputError(f"recipe {self.name} does not say how networks are specialised")
        own = self.specialisation
        return self.model_copy(
            update={
                "num_steps": own.num_steps,
                "learning_rate": own.learning_rate,
                "schedule": own.schedule,
                "steps_per_epoch": min(self.steps_per_epoch, own.num_steps),
                # Samples must differ from network to network, and from the generic one's.
                "seed": self.seed + 1 + index,
                "specialisation": None,
            }
        )


PAPER = Recipe(
    name="paper",
    architecture=Architecture(width=24, num_levels=4, dropout=0.5),
    loss=LossName.GENERALISED_JACCARD,
    subvolume_size=96,
    batch_size=1,
    num_steps=50_000,
    learning_rate=1e-4,
    early_stopping=True,
    specialisation=Specialisation(num_steps=50_000, learning_rate=1e-4, schedule=Schedule.CONSTANT),
)
"""As published: at most 500 epochs, ended by 50 without a better validation loss, in both
stages. Width and the length of an epoch are our choices, since the paper does not print them."""

COMPACT = Recipe(
    name="compact",
    architecture=Architecture(width=8, num_levels=4, dropout=0.1),
    loss=LossName.JACCARD_CROSS_ENTROPY,
    subvolume_size=64,
    batch_size=2,
    num_steps=4000,
    learning_rate=1e-3,
    steps_per_epoch=50,
    schedule=Schedule.COSINE,
    lesion_centred=0.5,
    mix=SampleMix(labelled=0.2, transplanted=0.25, unlabelled=0.2, synthesised=0.35),
    intensity_augmentation=True,
    specialisation=Specialisation(num_steps=30, learning_rate=3e-4, schedule=Schedule.COSINE),
)
"""For a few CPU hours and few labelled cases: synthesis, short schedule, light dropout."""

SYNTHETIC = COMPACT.model_copy(
    update={
        "name": "synthetic",
        "num_steps": 2500,
        "mix": SampleMix(labelled=0, unlabelled=0.3, synthesised=0.7),
    }
)
"""No labelled image needed: what a run of `compact` can start from."""

TINY = COMPACT.model_copy(
    update={
        "name": "tiny",
        "architecture": Architecture(width=4, num_levels=3, dropout=0.1),
        "subvolume_size": 40,
        "num_steps": 240,
        "learning_rate": 2e-3,
        "mix": SampleMix(labelled=1),
        "specialisation": Specialisation(num_steps=3, learning_rate=5e-4, schedule=Schedule.COSINE),
    }
)
"""Minutes, for the worked example: to see the way that data takes, not to segment patients."""

FINE_TUNING = COMPACT.model_copy(
    update={
        "name": "fine-tuning",
        "mix": SampleMix(labelled=1, transplanted=1),
        "specialisation": Specialisation(
            num_steps=60, learning_rate=1e-4, schedule=Schedule.COSINE
        ),
    }
)
"""To train a bundle on with a few labelled cases of one's own: no tissue labels needed."""

RECIPES = {recipe.name: recipe for recipe in (PAPER, COMPACT, SYNTHETIC, TINY, FINE_TUNING)}


def find_recipe(name_or_file: str) -> Recipe:
    """A recipe by its name, or from a JSON file.

    Raises
    ------
    BadOption
        There is neither, or the file is no recipe.
    """
    if name_or_file in RECIPES:
        return RECIPES[name_or_file]
    file = Path(name_or_file)
    try:
        return Recipe.model_validate_json(file.read_bytes())
    except OSError as error:
        raise BadOption(
            f"--recipe: '{file.name}' is neither a recipe ({', '.join(RECIPES)}) nor a file"
        ) from error
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, f['loc'])) or 'file'}: {f['msg']}" for f in error.errors())
        raise BadOption(f"--recipe: {file.name} is no recipe: {'; '.join(faults)}") from error
