"""What is trained, on what, and what it is tested on.

Source: Kamraoui et al., Medical Image Analysis 76 (2022) 102312, tables 2, 3 and 10.
"""

from dataclasses import dataclass

from dlb_core.network import Architecture
from dlb_core.synthesis.domains import INHOUSE_LIKE, ISBI_LIKE, MSSEG_LIKE, Domain
from dlb_core.tiling import NETWORK_LOCATIONS, STARTS_K, NetworkLocation
from dlb_core.training.losses import LossName
from dlb_core.training.recipe import Recipe, Schedule, Specialisation

FIRST_TEST_SEED = 1000
"""Subjects to test on have seeds from here on, so none is trained on."""
VOTE_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of the tables."""

    key: str
    title: str
    specialised: bool
    hierarchical: bool
    """Specialised networks start from the generic one."""
    augmented: bool
    """With IQDA."""


VARIANTS = (
    Variant("dlb-hsl-iqda", "DLB with HSL and IQDA", True, True, True),
    Variant("dlb-hsl", "DLB with HSL and without IQDA", True, True, False),
    Variant("dlb-iqda", "DLB without HSL and with IQDA", True, False, True),
    Variant("generic-iqda", "The generic network with IQDA", False, False, True),
    Variant("generic", "The generic network without IQDA", False, False, False),
)
DLB, DLB_NO_IQDA, DLB_NO_HSL, GENERIC_IQDA, GENERIC = VARIANTS


@dataclass(frozen=True, slots=True)
class Claim:
    """One comparison of the paper, by hybrid score."""

    text: str
    better: Variant
    worse: Variant
    in_domain: float
    """The paper's difference where it trained on ISBI and tested on ISBI (table 2) ..."""
    out_of_domain: float
    """... and on MSSEG'16 (table 3)."""


CLAIMS = (
    Claim("IQDA helps DLB", DLB, DLB_NO_IQDA, 0.747 - 0.732, 0.684 - 0.673),
    Claim("HSL helps DLB", DLB, DLB_NO_HSL, 0.747 - 0.710, 0.684 - 0.648),
    Claim("specialising helps", DLB, GENERIC_IQDA, 0.747 - 0.736, 0.684 - 0.672),
    Claim("IQDA helps the generic network", GENERIC_IQDA, GENERIC, 0.736 - 0.688, 0.672 - 0.626),
)


@dataclass(frozen=True, slots=True)
class Training:
    """One domain to train on, which variants, and where they are tested."""

    domain: Domain
    variants: tuple[Variant, ...]
    tests: tuple[Domain, ...]


TRAININGS = (
    Training(ISBI_LIKE, VARIANTS, (ISBI_LIKE, MSSEG_LIKE, INHOUSE_LIKE)),
    # The second one is there for consistency: it segments the third domain too.
    Training(MSSEG_LIKE, (DLB, GENERIC_IQDA, GENERIC), (INHOUSE_LIKE,)),
)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of it is done."""

    name: str
    networks: tuple[NetworkLocation, ...]
    training_subjects: int
    test_subjects: int
    coarsening: int
    """Of the simulated scans; see `simulate_case`."""
    recipe: Recipe
    specialisation: Specialisation
    alone: Specialisation
    """The same for networks that start from nothing."""


def _outermost_column(
    rows: tuple[int, ...], layers: tuple[int, ...]
) -> tuple[NetworkLocation, ...]:
    """Lateral networks, which with their twins reach across the brain."""
    return tuple(NETWORK_LOCATIONS[len(STARTS_K) * j + k] for j in rows for k in layers)


def _recipe(**settings: object) -> Recipe:
    """`compact`'s choices at a smaller size, without its synthesis and intensity augmentation."""
    return Recipe.model_validate(
        {
            "name": "generalisation",
            "loss": LossName.JACCARD_CROSS_ENTROPY,
            "batch_size": 2,
            "learning_rate": 2e-3,
            "schedule": Schedule.COSINE,
            "lesion_centred": 0.7,
            "seed": 2022,
            **settings,
        }
    )


FULL = Scale(
    name="full",
    networks=_outermost_column(rows=(0, 2, 4), layers=(0, 3)),
    training_subjects=3,
    test_subjects=3,
    coarsening=1,
    recipe=_recipe(
        architecture=Architecture(width=4, num_levels=3, dropout=0.1),
        subvolume_size=40,
        num_steps=240,
        steps_per_epoch=40,
    ),
    specialisation=Specialisation(num_steps=30, learning_rate=5e-4, schedule=Schedule.COSINE),
    alone=Specialisation(num_steps=90, learning_rate=2e-3, schedule=Schedule.COSINE),
)
"""Six networks for twelve subvolumes: the fewest of the grid that hold the whole brain."""

QUICK = Scale(
    name="quick",
    networks=FULL.networks[2:3],
    training_subjects=1,
    test_subjects=2,
    coarsening=4,
    recipe=_recipe(
        architecture=Architecture(width=2, num_levels=2, dropout=0.1),
        subvolume_size=16,
        num_steps=4,
        steps_per_epoch=2,
    ),
    specialisation=Specialisation(num_steps=1, learning_rate=5e-4, schedule=Schedule.COSINE),
    alone=Specialisation(num_steps=1, learning_rate=2e-3, schedule=Schedule.COSINE),
)
"""To see that it runs; its figures mean nothing."""
