"""An evaluation's figures of bundle A, as `dlb bundle describe` takes them into a manifest."""

from collections.abc import Sequence

from dlb_core.checkpoints import Bundle
from dlb_core.evaluation.cases import Space
from dlb_core.evaluation.document import Evaluation
from dlb_core.evaluation.scores import Scores
from dlb_core.model_facts import BUNDLE, FIGURES, Facts, Measured, Result

_DIGITS = 3
_GRIDS = {
    Space.NATIVE: "compared on each reference's own grid, volumes in the patient's ml",
    Space.MNI: "compared on the MNI grid, volumes in the template's ml",
}


def figures_of(scores: Scores) -> dict[str, float]:
    """All measures that are defined, rounded."""
    values = {name: getattr(scores, name) for name in FIGURES}
    return {name: round(value, _DIGITS) for name, value in values.items() if value is not None}


def facts_of(evaluation: Evaluation, bundle: Bundle) -> Facts:
    """Figures of bundle A and of the baseline, cases that shaped the weights by themselves.

    Parameters
    ----------
    evaluation : Evaluation
    bundle : Bundle
        Its A.
    """
    ours, *_, baseline = evaluation.methods
    seen = set(ours.trained_on)
    tables = []
    for known in (False, True):
        results = [
            Result(cases=(r.case,), method=method, values=figures_of(r.scores))
            for entry, method in ((ours, BUNDLE), (baseline, baseline.name))
            for r in evaluation.of(entry.id)
            if (r.case in seen) is known
        ]
        if results:
            tables.append(_measured(evaluation, bundle, results, known))
    return Facts(evaluation=tuple(tables))


def _measured(
    evaluation: Evaluation, bundle: Bundle, results: Sequence[Result], known: bool
) -> Measured:
    source = "dataset" if evaluation.space is Space.NATIVE else "cache"
    least = f"{evaluation.minimum_lesion_mm3:g}"
    count = sum(result.method == BUNDLE for result in results)
    return Measured(
        title=f"{evaluation.data_set}, {'cases seen in training' if known else 'unseen cases'}",
        protocol=(
            f"{count} labelled case{'s'[: count != 1]} of the data set {evaluation.data_set}, "
            f"{_GRIDS[evaluation.space]}; predicted lesions under {least} mm³ dropped; lesions by "
            "26-connectivity. Of the baseline each case has the threshold that suits it best. "
            f"Software {evaluation.software_version}, {evaluation.created[:10]}."
        ),
        command=f"dlb evaluate --{source} {evaluation.data_set} --minimum-lesion-mm3 {least}",
        seen_in_training=known,
        weights_sha256=bundle.weights_sha256,
        results=tuple(results),
    )
