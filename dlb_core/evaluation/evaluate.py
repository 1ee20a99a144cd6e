"""Evaluate one bundle, or two against each other, and write all of it into a folder."""

from dataclasses import dataclass
from pathlib import Path

from dlb_core import __version__
from dlb_core.artefacts import write_text
from dlb_core.checkpoints import Bundle
from dlb_core.contracts import Device
from dlb_core.errors import BadOption, InputError
from dlb_core.evaluation.cases import CaseList
from dlb_core.evaluation.document import (
    Comparison,
    Evaluation,
    MethodEntry,
    compare,
    of_method,
    summarise,
)
from dlb_core.evaluation.figures import facts_of
from dlb_core.evaluation.methods import BestThreshold, Ensemble
from dlb_core.evaluation.page import render_page
from dlb_core.evaluation.plots import draw
from dlb_core.evaluation.run import Outcome, StepCallback, run_all
from dlb_core.evaluation.store import ResultStore
from dlb_core.evaluation.tables import cases_csv, comparison_csv, summary_csv
from dlb_core.metrics import dice
from dlb_core.provenance import utc_now

PAGE, DOCUMENT, FIGURES = "evaluation.html", "evaluation.json", "figures.json"
CASES, SUMMARY, COMPARISON = "cases.csv", "summary.csv", "comparison.csv"
RESULTS = "cases"
"""Folder of the finished results, one folder a case."""


@dataclass(frozen=True, slots=True)
class Finished:
    """An evaluation and how much of it was there before."""

    evaluation: Evaluation
    reused: int


def evaluate(
    cases: CaseList,
    bundle: Bundle,
    output: Path,
    *,
    other: Bundle | None = None,
    minimum_lesion_mm3: float = 3.0,
    device: Device = Device.CPU,
    on_step: StepCallback = lambda *_: None,
) -> Finished:
    """Run, score, compare and write.

    Parameters
    ----------
    cases : CaseList
        From `from_dataset` or `from_cache`.
    bundle, other : Bundle
        A, and B if there is one to compare it with.
    output : Path
        Made if missing. Results of an earlier run in it are used again where neither the case,
        the bundle, the options nor the software changed.
    minimum_lesion_mm3 : float
        Smaller predicted lesions are dropped; the references are taken as they are.
    device : Device
    on_step : callable
        Told of progress.

    Raises
    ------
    InputError
        No case could be run.
    BadOption
        A and B are the same bundle.
    ModelError
        A bundle is not what its manifest says.
    """
    if other and other.sha256 == bundle.sha256:
        raise BadOption("the two bundles are the same: give another one to compare with")
    bundles = [bundle, other] if other else [bundle]
    ensembles = [Ensemble(b, minimum_lesion_mm3, device) for b in bundles]
    store = ResultStore(output / RESULTS)
    output.mkdir(parents=True, exist_ok=True)
    outcome = run_all(cases.cases, [*ensembles, BestThreshold()], store, on_step=on_step)
    if not outcome.results:
        reasons = "\n".join(f"{case}: {reason}" for case, reason in outcome.failed.items())
        raise InputError(f"no case could be run:\n{reasons}")
    evaluation = _document(cases, ensembles, outcome, store, minimum_lesion_mm3)
    _write(output, evaluation, bundle)
    return Finished(evaluation, outcome.reused)


def _document(
    cases: CaseList,
    ensembles: list[Ensemble],
    outcome: Outcome,
    store: ResultStore,
    minimum_lesion_mm3: float,
) -> Evaluation:
    names = {case.name for case in cases.cases}
    methods = (
        *(_entry(ensemble, label, names) for ensemble, label in zip(ensembles, "AB", strict=False)),
        MethodEntry(
            id=BestThreshold().id, label="threshold", name="best fixed FLAIR threshold", sha256=""
        ),
    )
    return Evaluation(
        created=utc_now(),
        software_version=__version__,
        data_set=cases.source,
        space=cases.space,
        minimum_lesion_mm3=minimum_lesion_mm3,
        methods=methods,
        results=outcome.results,
        skipped=cases.skipped,
        failed=outcome.failed,
        summaries=summarise(outcome.results, methods),
        comparison=_comparison(outcome, ensembles, store) if len(ensembles) > 1 else None,
    )


def _entry(ensemble: Ensemble, label: str, names: set[str]) -> MethodEntry:
    manifest = ensemble.bundle.manifest
    return MethodEntry(
        id=ensemble.id,
        label=label,
        name=f"{manifest.name} {manifest.version}",
        sha256=ensemble.bundle.sha256,
        trained_on=tuple(sorted(names & manifest.seen_cases)),
    )


def _comparison(outcome: Outcome, ensembles: list[Ensemble], store: ResultStore) -> Comparison:
    first, second = (of_method(outcome.results, ensemble.id) for ensemble in ensembles)
    consistency = {
        a.case: dice(store.mask(a.case, a.method), store.mask(b.case, b.method))
        for a, b in zip(first, second, strict=True)
    }
    return compare(first, second, consistency)


def _write(output: Path, evaluation: Evaluation, bundle: Bundle) -> None:
    write_text(output / CASES, cases_csv(evaluation))
    write_text(output / SUMMARY, summary_csv(evaluation))
    if evaluation.comparison:
        write_text(output / COMPARISON, comparison_csv(evaluation.comparison))
    else:
        (output / COMPARISON).unlink(missing_ok=True)
    write_text(output / DOCUMENT, evaluation.model_dump_json(indent=1) + "\n")
    facts = facts_of(evaluation, bundle)
    write_text(output / FIGURES, facts.model_dump_json(indent=1, exclude_defaults=True) + "\n")
    write_text(output / PAGE, render_page(evaluation, draw(evaluation)))
