"""An evaluation's figures of bundle A, as `dlb bundle describe` takes them into a manifest."""

import re
from collections.abc import Sequence

from dlb_core.checkpoints import Bundle
from dlb_core.evaluation.cases import Space
from dlb_core.evaluation.document import Evaluation
from dlb_core.evaluation.scores import Scores
from dlb_core.model_facts import BUNDLE, FIGURES, LESION_COUNTS, Facts, Measured, Result

_DIGITS = 3
_MOST_NAMED = 10
"""More subjects than these are not named in the command."""
_GRIDS = {
    Space.NATIVE: "compared on each reference's own grid, volumes in the patient's ml",
    Space.MNI: "compared on the MNI grid, volumes in the template's ml",
}


def figures_of(scores: Scores) -> dict[str, float]:
    """Volumes and all measures that are defined, rounded."""
    names = [name for name in FIGURES if name not in LESION_COUNTS]
    values = {name: getattr(scores, name) for name in names}
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
    name = re.sub(r"[^\w .-]", "_", evaluation.data_set)[:100]
    subjects = sorted({result.subject for result in evaluation.results})
    only = f" --subjects {','.join(subjects)}" if len(subjects) <= _MOST_NAMED else ""
    least = f"{evaluation.minimum_lesion_mm3:g}"
    count = sum(result.method == BUNDLE for result in results)
    return Measured(
        title=f"{name}, {'cases seen in training' if known else 'unseen cases'}",
        protocol=(
            f"{count} labelled {'case' if count == 1 else 'cases'} of the data set {name}, "
            f"{_GRIDS[evaluation.space]}; predicted lesions under {least} mm³ dropped, and those "
            "of which no voxel convinced four fifths of the networks; lesions by 26-connectivity; "
            "score: hybrid score of one case, without CORR. Of the baseline each case has the "
            "threshold that suits it best. "
            f"Software {evaluation.software_version}, {evaluation.created[:10]}."
        ),
        command=f"dlb evaluate --{source} {name}{only} --minimum-lesion-mm3 {least}",
        seen_in_training=known,
        weights_sha256=bundle.weights_sha256,
        results=tuple(results),
    )
