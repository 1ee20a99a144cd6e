"""A small evaluation to render, made up."""

from dlb_core.evaluation.cases import Space
from dlb_core.evaluation.document import Evaluation, MethodEntry, compare, of_method, summarise
from dlb_core.evaluation.scores import Scores
from dlb_core.evaluation.store import CaseResult

METHODS = (
    MethodEntry(id="bundle-a", label="A", name="first 1", sha256="a" * 64),
    MethodEntry(id="bundle-b", label="B", name="second 2", sha256="b" * 64),
    MethodEntry(id="threshold", label="threshold", name="best fixed threshold", sha256=""),
)


def make_scores(dice: float, reference_ml: float) -> Scores:
    """Every share is like the Dice."""
    return Scores(
        dice=dice,
        ppv=dice,
        tpr=dice,
        lesion_wise_fdr=1 - dice,
        lesion_wise_tpr=dice,
        lesion_wise_f1=dice,
        volume_difference=dice - 1,
        case_score=dice,
        predicted_ml=dice * reference_ml,
        reference_ml=reference_ml,
        predicted_lesions=3,
        reference_lesions=4,
    )


def make_evaluation(
    num_cases: int = 7,
    *,
    num_subjects: int = 7,
    domains: tuple[str, ...] = ("",),
    **changes: object,
) -> Evaluation:
    """A scores better than B on every case, by more and more; B better than the threshold."""
    results = tuple(
        CaseResult(
            case=f"case-{n}",
            subject=f"sub-{n % num_subjects}",
            session="",
            domain=domains[n % len(domains)],
            method=method.id,
            key="key",
            scores=make_scores(0.9 - 0.1 * m - 0.02 * n * m, 0.5 * 3**n),
            cpu_s=1.5,
        )
        for n in range(num_cases)
        for m, method in enumerate(METHODS)
    )
    first, second = (of_method(results, id_) for id_ in ("bundle-a", "bundle-b"))
    return Evaluation(
        created="2026-01-02T03:04:05+00:00",
        software_version="0.0",
        data_set="a data set",
        space=Space.NATIVE,
        minimum_lesion_mm3=3.0,
        methods=METHODS,
        results=results,
        skipped={},
        failed={},
        summaries=summarise(results, METHODS),
        comparison=compare(first, second, {r.case: 0.625 for r in first}),
    ).model_copy(update=changes)
