"""The evaluation's published schema: `evaluation.json` is an `Evaluation`."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from dlb_core.contracts import Message
from dlb_core.evaluation.cases import Space
from dlb_core.evaluation.statistics import (
    Agreement,
    PairedTest,
    Spread,
    agreement,
    correlation,
    data_set_score,
    paired_test,
    spread,
)
from dlb_core.evaluation.store import CaseResult
from dlb_core.metrics import MEASURES
from dlb_core.report.document import RESEARCH_USE

ALL_DOMAINS = "all"


class MethodEntry(Message):
    """What was scored."""

    id: str
    label: Annotated[str, Field(description="A, B or threshold: its name in tables and plots")]
    name: str
    sha256: Annotated[str, Field(description="of the bundle's manifest; empty for the baseline")]
    trained_on: Annotated[
        tuple[str, ...],
        Field(description="cases whose names the bundle's manifest lists as training data"),
    ] = ()


class Summary(Message):
    """One method over the cases of one domain, or over all."""

    domain: str
    method: str
    num_cases: int
    measures: dict[str, Spread]
    correlation: Annotated[float | None, Field(description="CORR; from three cases on")]
    hybrid_score: Annotated[float | None, Field(description="equation 5 over these cases")]
    volumes: Annotated[Agreement | None, Field(description="Bland-Altman, predicted - reference")]


class Pair(Message):
    """One case, A against B."""

    case: str
    score_a: float
    score_b: float
    consistency: Annotated[float, Field(description="Dice between the masks of A and B")]


class Comparison(Message):
    """Bundle A against bundle B."""

    pairs: tuple[Pair, ...]
    consistency: Spread
    test: Annotated[PairedTest, Field(description="on the cases' hybrid scores")]


class Evaluation(Message):
    """All that one evaluation found."""

    schema_version: Literal["1.0"] = "1.0"
    created: str
    software_version: str
    data_set: str
    space: Annotated[Space, Field(strict=False)]
    minimum_lesion_mm3: float
    methods: tuple[MethodEntry, ...]
    results: tuple[CaseResult, ...]
    skipped: Annotated[dict[str, str], Field(description="cases without a label -> what lacks")]
    failed: Annotated[dict[str, str], Field(description="cases that could not be run -> why")]
    summaries: tuple[Summary, ...]
    comparison: Comparison | None
    research_use: str = RESEARCH_USE

    @property
    def num_cases(self) -> int:
        """How many cases were scored."""
        return len({result.case for result in self.results})

    @property
    def num_subjects(self) -> int:
        """How many persons they come from."""
        return len({result.subject for result in self.results})

    def of(self, method: str, domain: str = ALL_DOMAINS) -> list[CaseResult]:
        """Results of one method."""
        return of_method(self.results, method, domain)


def of_method(
    results: Sequence[CaseResult], method: str, domain: str = ALL_DOMAINS
) -> list[CaseResult]:
    """Results of one method, in the order of the cases."""
    return [r for r in results if r.method == method and domain in (ALL_DOMAINS, r.domain)]


def summarise(results: Sequence[CaseResult], methods: Sequence[MethodEntry]) -> tuple[Summary, ...]:
    """Over all cases, then over each domain if there are several."""
    domains = sorted({result.domain for result in results})
    groups = [ALL_DOMAINS, *domains] if len(domains) > 1 else [ALL_DOMAINS]
    return tuple(
        _summary(of_method(results, method.id, domain), method.id, domain)
        for domain in groups
        for method in methods
    )


def _summary(results: Sequence[CaseResult], method: str, domain: str) -> Summary:
    scores = [result.scores for result in results]
    predicted = [s.predicted_ml for s in scores]
    reference = [s.reference_ml for s in scores]
    correlated = correlation(predicted, reference)
    return Summary(
        domain=domain,
        method=method,
        num_cases=len(results),
        measures={name: spread([getattr(s, name) for s in scores]) for name in MEASURES},
        correlation=correlated,
        hybrid_score=data_set_score([s.case_score for s in scores], correlated),
        volumes=agreement(predicted, reference),
    )


def compare(
    first: Sequence[CaseResult], second: Sequence[CaseResult], consistency: dict[str, float]
) -> Comparison:
    """A against B; `consistency` is the Dice between their masks, by case."""
    pairs = tuple(
        Pair(
            case=a.case,
            score_a=a.scores.case_score,
            score_b=b.scores.case_score,
            consistency=consistency[a.case],
        )
        for a, b in zip(first, second, strict=True)
    )
    return Comparison(
        pairs=pairs,
        consistency=spread([pair.consistency for pair in pairs]),
        test=paired_test([p.score_a for p in pairs], [p.score_b for p in pairs]),
    )
