"""Run the whole plan and put its results together."""

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.generalisation.plan import (
    CLAIMS,
    DLB,
    TRAININGS,
    Claim,
    Scale,
    Training,
    Variant,
)
from benchmarks.generalisation.stages import (
    Workplace,
    read_mask,
    segment,
    simulate,
    train_variant,
)
from benchmarks.generalisation.tables import (
    COLUMNS,
    Scored,
    ablation_table,
    claims_table,
    consistency,
    consistency_table,
    score,
)
from dlb_core.evaluation.statistics import paired_test
from dlb_core.synthesis.domains import Domain
from dlb_core.training.cache import CachedCase
from dlb_core.volume import Mask

Say = Callable[[str], None]
Trainings = tuple[Training, Training]
"""The first is tested; the second is there to be compared with it."""


def run(
    folder: Path, scale: Scale, say: Say, *, trainings: Trainings = TRAININGS
) -> dict[str, Any]:
    """Do what is not done yet, then score all of it; returns a JSON document."""
    folder.mkdir(parents=True, exist_ok=True)
    workplace = Workplace(folder)
    tests: dict[str, list[CachedCase]] = {}
    for domain in dict.fromkeys(d for training in trainings for d in training.tests):
        say(f"simulating {domain.name} to test on")
        tests[domain.name] = simulate(workplace, scale, domain, "test")
    for training in trainings:
        say(f"simulating {training.domain.name} to train on")
        cases = simulate(workplace, scale, training.domain, "training")
        for variant in training.variants:
            say(f"trained on {training.domain.name}: {variant.title}")
            weights_of = train_variant(workplace, scale, training, variant, cases)
            for domain in training.tests:
                segment(workplace, scale, training, variant, tests[domain.name], weights_of)
    return _document(workplace, scale, trainings, tests)


def _document(
    workplace: Workplace,
    scale: Scale,
    trainings: Trainings,
    tests: dict[str, list[CachedCase]],
) -> dict[str, Any]:
    first = trainings[0]
    scored = {
        (variant, domain): score(
            _masks(workplace, first, variant, tests[domain.name]), _references(tests[domain.name])
        )
        for variant in first.variants
        for domain in first.tests
    }
    return {
        "scale": scale.name,
        "machine": _machine(),
        "time": workplace.times(),
        "trained_on": first.domain.name,
        "tests": [_test(scored, first, domain) for domain in first.tests],
        "claims": _claims(scored, first),
        "dlb_against_others_out_of_domain": _tests_against_dlb(scored, first),
        "consistency": _consistency(workplace, trainings, tests),
    }


def _claims(
    scored: dict[tuple[Variant, Domain], Scored], training: Training
) -> list[dict[str, Any]]:
    """The paper's comparisons, and ours: differences of the hybrid score, with and without CORR."""

    def difference(claim: Claim, domain: Domain) -> float | None:
        pair = (scored[variant, domain] for variant in (claim.better, claim.worse))
        better, worse = (each.averages["hybrid"] for each in pair)
        return _rounded(better - worse)

    def without_correlation(claim: Claim, domain: Domain) -> float | None:
        pair = (scored[variant, domain] for variant in (claim.better, claim.worse))
        better, worse = (float(np.mean(each.case_scores)) for each in pair)
        return _rounded(better - worse)

    return [
        {
            "claim": claim.text,
            "paper_in_domain": round(claim.in_domain, 3),
            "paper_out_of_domain": round(claim.out_of_domain, 3),
            "here": {d.name: difference(claim, d) for d in training.tests},
            "here_without_corr": {d.name: without_correlation(claim, d) for d in training.tests},
        }
        for claim in CLAIMS
        if {claim.better, claim.worse} <= set(training.variants)
    ]


def _test(
    scored: dict[tuple[Variant, Domain], Scored], training: Training, domain: Domain
) -> dict[str, Any]:
    reference = scored[training.variants[0], domain].reference_ml
    return {
        "domain": domain.name,
        "reference_ml": [round(ml, 2) for ml in reference],
        "rows": [
            {
                "method": variant.title,
                **{k: _rounded(v) for k, v in scored[variant, domain].averages.items()},
                "case_scores": [_rounded(s) for s in scored[variant, domain].case_scores],
                "found_ml": [round(ml, 2) for ml in scored[variant, domain].found_ml],
            }
            for variant in training.variants
        ],
    }


def _tests_against_dlb(
    scored: dict[tuple[Variant, Domain], Scored], training: Training
) -> dict[str, Any]:
    """Wilcoxon over the cases of the domains that were not trained on."""
    unseen = [domain for domain in training.tests if domain is not training.domain]

    def scores(variant: Variant) -> list[float]:
        return [s for domain in unseen for s in scored[variant, domain].case_scores]

    others = [variant for variant in training.variants if variant is not DLB]
    return {v.title: paired_test(scores(DLB), scores(v)).model_dump() for v in others}


def _consistency(
    workplace: Workplace, trainings: Trainings, tests: dict[str, list[CachedCase]]
) -> dict[str, Any]:
    """Dice between the two trainings' masks, on the domain that both were tested on."""
    first, second = trainings
    domain = second.tests[0]
    cases = tests[domain.name]
    rows = {
        variant.title: _rounded(
            consistency(
                _masks(workplace, first, variant, cases), _masks(workplace, second, variant, cases)
            )
        )
        for variant in second.variants
    }
    return {
        "domain": domain.name,
        "trained_on": [first.domain.name, second.domain.name],
        "rows": rows,
    }


def _masks(
    workplace: Workplace, training: Training, variant: Variant, cases: list[CachedCase]
) -> list[Mask]:
    return [read_mask(workplace.mask(training, variant, case.entry.name)) for case in cases]


def _references(cases: list[CachedCase]) -> list[Mask]:
    return [np.asarray(case.lesions) > 0 for case in cases]


def _rounded(value: float) -> float | None:
    """JSON knows no NaN."""
    return None if np.isnan(value) else round(value, 4)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _machine() -> dict[str, Any]:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    cores = len(os.sched_getaffinity(0))
    return {"cpu": next(models, platform.machine()), "cores": cores, "torch": torch.__version__}


def markdown(document: dict[str, Any]) -> str:
    """All tables."""
    parts = []
    for test in document["tests"]:
        rows = {
            row["method"]: {column: _number(row[column]) for column in COLUMNS}
            for row in test["rows"]
        }
        parts.append(f"Trained on {document['trained_on']}, tested on {test['domain']}:")
        parts.append(ablation_table(rows))
    consistent = document["consistency"]
    heading = f"{' vs. '.join(consistent['trained_on'])}, tested on {consistent['domain']}"
    values = {method: _number(value) for method, value in consistent["rows"].items()}
    parts += ["Consistency:", consistency_table(values, heading)]
    heading = "Differences of the hybrid score, and in brackets without CORR:"
    parts += [heading, claims_table(document["claims"])]
    return "\n\n".join(parts) + "\n"
