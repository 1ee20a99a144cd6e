"""Run every method on every case: preprocessing once a case, finished results never again."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dlb_core import __version__
from dlb_core.contracts import NUM_NETWORKS, Progress, Stage
from dlb_core.errors import InputError, StageFailed
from dlb_core.evaluation.cases import Case, ReadyCase
from dlb_core.evaluation.methods import Method
from dlb_core.evaluation.scores import score
from dlb_core.evaluation.store import CaseResult, ResultStore

StepCallback = Callable[[str, float], None]
"""Told what is being done, and how much of everything is, in [0, 1]."""

_STAGES = list(Stage)
_PREPARED = _STAGES.index(Stage.INFERENCE)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of all cases."""

    results: tuple[CaseResult, ...]
    """Case by case, and in each all methods; only cases on which every method ran."""
    failed: dict[str, str]
    """Case -> why it could not be run."""
    reused: int
    """Results that were there already."""


def run_all(
    cases: Sequence[Case],
    methods: Sequence[Method],
    store: ResultStore,
    *,
    on_step: StepCallback = lambda *_: None,
) -> Outcome:
    """Run what is not there yet.

    A case whose input is at fault, or on which a stage fails, is left out and named; whatever
    else goes wrong ends the run, and what was finished is kept.

    Parameters
    ----------
    cases, methods : sequence
    store : ResultStore
    on_step : callable
        Told of progress.

    Raises
    ------
    ModelError
        A bundle is not what its manifest says.
    """
    results: list[CaseResult] = []
    failed: dict[str, str] = {}
    reused = 0
    for n, case in enumerate(cases):
        tell = _Teller(on_step, case.name, n, len(cases), len(methods))
        try:
            found, old = _run_case(case, methods, store, tell)
        except (InputError, StageFailed) as error:
            failed[case.name] = str(error)
            continue
        results += found
        reused += old
    return Outcome(tuple(results), failed, reused)


def _run_case(
    case: Case, methods: Sequence[Method], store: ResultStore, tell: "_Teller"
) -> tuple[list[CaseResult], int]:
    digest = case.digest()
    keys = {method.id: f"{digest} {method.digest} {__version__}" for method in methods}
    found = [store.find(case.name, method.id, keys[method.id]) for method in methods]
    found = [result and _relabelled(result, case) for result in found]
    reused = sum(result is not None for result in found)
    if reused < len(methods):
        ready = case.ready(tell.preparing)
        found = [
            old or _run_method(case, ready, method, keys[method.id], store, tell.running(m))
            for m, (method, old) in enumerate(zip(methods, found, strict=True))
        ]
    return [result for result in found if result], reused


def _relabelled(result: CaseResult, case: Case) -> CaseResult:
    """An earlier result under the labels that the table gives the case today."""
    return result.model_copy(
        update={"subject": case.subject, "session": case.session, "domain": case.domain}
    )


def _run_method(
    case: Case,
    ready: ReadyCase,
    method: Method,
    key: str,
    store: ResultStore,
    on_network: Callable[[int], None],
) -> CaseResult:
    start = time.process_time()
    mask, remark = method.segment(ready, on_network)
    cpu_s = round(time.process_time() - start, 3)
    result = CaseResult(
        case=case.name,
        subject=case.subject,
        session=case.session,
        domain=case.domain,
        method=method.id,
        key=key,
        scores=score(mask, ready.reference, voxel_mm3=ready.grid.voxel_mm3),
        cpu_s=cpu_s,
        remark=remark,
    )
    store.save(result, mask, ready.grid)
    return result


@dataclass(frozen=True, slots=True)
class _Teller:
    """Turns a case's own progress into the whole run's; a step is one method, or preparing."""

    on_step: StepCallback
    case: str
    index: int
    num_cases: int
    num_methods: int

    def preparing(self, progress: Progress) -> None:
        """Pass on a stage of the preprocessing."""
        stages = _STAGES.index(progress.stage) + progress.done / progress.total
        self._tell(progress.stage.value.replace("_", " "), min(stages / _PREPARED, 1.0))

    def running(self, method: int) -> Callable[[int], None]:
        """What one method reports its networks to."""

        def on_network(done: int) -> None:
            self._tell(f"networks {done}/{NUM_NETWORKS}", 1 + method + done / NUM_NETWORKS)

        return on_network

    def _tell(self, what: str, steps: float) -> None:
        share = (self.index + steps / (1 + self.num_methods)) / self.num_cases
        self.on_step(f"{self.case} ({self.index + 1}/{self.num_cases}) {what}", share)
