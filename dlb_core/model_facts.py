"""What a bundle's manifest says of the model besides its files: training, figures, failures.

The model card says the same in words, and its tables are made from this (`model_card.py`).
No network is loaded here.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator

from dlb_core.contracts import NUM_NETWORKS, Message
from dlb_core.errors import BadOption
from dlb_core.metrics import MEASURES

FIGURES = {
    "reference_ml": "reference ml",
    "predicted_ml": "found ml",
    "reference_lesions": "reference lesions",
    "predicted_lesions": "found lesions",
    **MEASURES,
    "case_score": "score",
    "lesion_wise_f1": "lesion F1",
    "volume_difference": "volume diff.",
}
"""Names that a figure may have -> what tables call it, in their order; see docs/metrics.md."""
LESION_COUNTS = ("reference_lesions", "predicted_lesions")
BUNDLE = "this bundle"
"""The method that figures are of, unless they name another."""
_LIMITS = dict.fromkeys(MEASURES, (0.0, 1.0)) | {"volume_difference": (-1.0, math.inf)}
_ROUNDING = 1e-3


def _plain(text: str) -> str:
    if "\n" in text or "<!--" in text:
        raise ValueError("one paragraph, without line breaks and comments")
    return text


Words = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=4000),
    AfterValidator(_plain),
]
"""A paragraph; may hold Markdown."""
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class SampleShares(Message):
    """Shares of a training's samples by what they were made from; together 1."""

    labelled: Annotated[Share, Field(description="real images, real lesions")] = 0.0
    transplanted: Annotated[Share, Field(description="labelled images, lesions added")] = 0.0
    unlabelled: Annotated[Share, Field(description="unlabelled images, lesions added")] = 0.0
    synthesised: Annotated[Share, Field(description="images made from tissue labels")] = 0.0

    @model_validator(mode="after")
    def _make_one(self) -> Self:
        if abs(sum(self.model_dump().values()) - 1) > _ROUNDING:
            raise ValueError("the shares of the samples must add up to 1")
        return self

    @property
    def painted(self) -> float:
        """Share of the samples with lesions that nobody had."""
        return self.transplanted + self.unlabelled + self.synthesised


class CaseCounts(Message):
    """How many cases a training had, by what they hold."""

    labelled: Annotated[Count, Field(description="images with a lesion mask")] = 0
    unlabelled: Annotated[Count, Field(description="images without one")] = 0
    anatomies: Annotated[Count, Field(description="tissue labels to make images from")] = 0
    lesion_masks: Annotated[Count, Field(description="masks whose lesions are painted")] = 0
    validation: Annotated[Count, Field(description="held back to choose weights by")] = 0


class TrainingRun(Message):
    """One training by one recipe."""

    recipe: Words
    first_stage: Annotated[
        str, Field(pattern=r"^(generic|restoration)?$", description="empty: none")
    ] = ""
    first_stage_steps: Count = 0
    network_steps: Annotated[Count, Field(description="of each of the 75; 0: copies")] = 0
    early_stopping: Annotated[bool, Field(description="steps are at most so many")] = False
    batch_size: Annotated[int, Field(ge=1)]
    cube_voxels: Annotated[int, Field(ge=1, description="edge of a training cube")]
    samples: SampleShares
    cases: CaseCounts

    @property
    def num_samples(self) -> int:
        """Samples that segmentation was learned from; none in a restoration."""
        generic = 0 if self.first_stage == "restoration" else self.first_stage_steps
        return self.batch_size * (generic + NUM_NETWORKS * self.network_steps)


class Training(Message):
    """How the weights came about: runs in their order, each after one that stands before it."""

    runs: Annotated[tuple[TrainingRun, ...], Field(min_length=1)]
    from_nothing: Annotated[
        bool, Field(description="the first run began from random weights; false: not known")
    ] = True

    def share(self, kind: Callable[[SampleShares], float]) -> float:
        """A share of the samples of all runs."""
        total = sum(run.num_samples for run in self.runs)
        counted = sum(run.num_samples * kind(run.samples) for run in self.runs)
        return counted / total if total else 0.0


class Result(Message):
    """Figures of one method on a case, or over several cases."""

    cases: Annotated[tuple[Words, ...], Field(min_length=1)]
    method: Words = BUNDLE
    values: Annotated[
        dict[str, Annotated[float, Field(allow_inf_nan=False)]],
        Field(min_length=1, description=f"of {', '.join(FIGURES)}"),
    ]

    @model_validator(mode="after")
    def _are_possible(self) -> Self:
        for name, value in self.values.items():
            if name not in FIGURES:
                raise ValueError(f"'{name}' is no measure: those known are {', '.join(FIGURES)}")
            low, high = _LIMITS.get(name, (0.0, math.inf))
            if not low <= value <= high:
                raise ValueError(f"{name} cannot be {value:g}")
        return self


class Measured(Message):
    """Figures that were made in one way."""

    title: Words
    protocol: Annotated[Words, Field(description="data, reference, grid, what was left out")]
    command: Annotated[Words, Field(description="that makes them")]
    seen_in_training: Annotated[bool, Field(description="whether a case shaped the weights")]
    leave_one_out: Annotated[
        bool,
        Field(description="each case's figures are of weights made in the same way without it"),
    ] = False
    weights_sha256: Annotated[
        str,
        Field(
            pattern=r"^([0-9a-f]{64})?$", description="of the weights; empty: not known, or several"
        ),
    ] = ""
    results: Annotated[tuple[Result, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _contradict_nothing(self) -> Self:
        if self.leave_one_out and self.seen_in_training:
            raise ValueError("a case that was left out was not seen in training")
        said = [(result.cases, result.method) for result in self.results]
        if len(said) > len(set(said)):
            raise ValueError("two results are of the same cases and method")
        return self

    @property
    def cases(self) -> frozenset[str]:
        """Every case that was measured on."""
        return frozenset(case for result in self.results for case in result.cases)


class Facts(Message):
    """The part of a manifest that people want to know."""

    training: Training | None = None
    training_data: Annotated[
        tuple[Words, ...], Field(description="where they come from, licences, what was left out")
    ] = ()
    evaluation: tuple[Measured, ...] = ()
    known_failures: tuple[Words, ...] = ()
    intended_use: tuple[Words, ...] = ()

    def given(self) -> dict[str, Any]:
        """Those parts that say something."""
        parts = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: part for name, part in parts.items() if part}


def read_facts(files: list[Path]) -> Facts:
    """Read files of facts; figures add up, every other part may stand in one file only.

    Raises
    ------
    BadOption
        A file cannot be read, is not what `Facts` describes, or says again what another says;
        or nothing is said.
    """
    parts: dict[str, Any] = {}
    for file in files:
        given = _read(file).given()
        figures = (*parts.pop("evaluation", ()), *given.pop("evaluation", ()))
        if twice := parts.keys() & given.keys():
            raise BadOption(f"{file.name}: {', '.join(sorted(twice))}: in another file too")
        parts |= given | ({"evaluation": figures} if figures else {})
    if not parts:
        raise BadOption("the files of figures say nothing: give at least one part")
    if "evaluation" in parts:
        parts["evaluation"] = tuple(_joined(parts["evaluation"]))
    return Facts.model_validate(parts)


def _joined(tables: Sequence[Measured]) -> Iterator[Measured]:
    """Tables that were made in the same way, case by case, as one."""
    alike: dict[str, list[Measured]] = {}
    for table in tables:
        alike.setdefault(table.model_dump_json(exclude={"results"}), []).append(table)
    for first, *others in alike.values():
        results = [*first.results, *(result for table in others for result in table.results)]
        yield Measured(**dict(first) | {"results": tuple(results)})


def _read(file: Path) -> Facts:
    try:
        return Facts.model_validate_json(file.read_bytes())
    except OSError as error:
        raise BadOption(f"{file.name} cannot be read: give a JSON file of figures") from error
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc']) or 'the file'}: {fault['msg']}"
            for fault in error.errors()
        )
        raise BadOption(f"{file.name} is not a file of figures: {faults}") from error
