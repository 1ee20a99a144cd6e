"""Score what was found and lay it out as the paper's tables 2, 3 and 10 are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dlb_core.metrics import (
    case_score,
    dice,
    hybrid_score,
    lesion_wise_fdr,
    lesion_wise_tpr,
    ppv,
    tpr,
    volume_correlation,
)
from dlb_core.volume import Mask

MEASURES = {
    "dice": dice,
    "ppv": ppv,
    "tpr": tpr,
    "lfpr": lesion_wise_fdr,
    "ltpr": lesion_wise_tpr,
}
COLUMNS = {
    "hybrid": "Hybrid score",
    "dice": "Dice",
    "ppv": "PPV",
    "tpr": "TPR",
    "lfpr": "LFPR",
    "ltpr": "LTPR",
    "corr": "CORR",
}


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """One variant on one domain."""

    averages: dict[str, float]
    case_scores: list[float]
    """A case's share of the hybrid score, for paired tests."""
    found_ml: list[float]
    reference_ml: list[float]


def score(masks: Sequence[Mask], references: Sequence[Mask]) -> Scored:
    """Average each measure over cases, where it is defined; correlate volumes over all."""
    pairs = list(zip(masks, references, strict=True))
    averages = {
        name: _mean([measure(found, truth) for found, truth in pairs])
        for name, measure in MEASURES.items()
    }
    found_ml = [float(np.count_nonzero(mask)) / 1000 for mask in masks]
    reference_ml = [float(np.count_nonzero(mask)) / 1000 for mask in references]
    averages["corr"] = volume_correlation(found_ml, reference_ml)
    averages["hybrid"] = hybrid_score(
        dice=averages["dice"],
        ppv=averages["ppv"],
        lesion_wise_fdr=averages["lfpr"],
        lesion_wise_tpr=averages["ltpr"],
        correlation=averages["corr"],
    )
    scores = [case_score(found, truth) for found, truth in pairs]
    return Scored(averages, scores, found_ml, reference_ml)


def _mean(values: list[float]) -> float:
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")


def consistency(masks: Sequence[Mask], others: Sequence[Mask]) -> float:
    """Mean Dice between two trainings' masks of the same cases."""
    return _mean([dice(one, other) for one, other in zip(masks, others, strict=True)])


def ablation_table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """A Markdown table: a variant's title a row, the best of each column in bold."""
    best = {
        column: (min if column == "lfpr" else max)(
            (row[column] for row in rows.values() if not np.isnan(row[column])),
            default=float("nan"),
        )
        for column in COLUMNS
    }
    lines = [
        f"| Method | {' | '.join(COLUMNS.values())} |",
        f"|---|{'---|' * len(COLUMNS)}",
    ]
    for title, row in rows.items():
        cells = [_cell(row[column], best[column]) for column in COLUMNS]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(value: float, best: float) -> str:
    if np.isnan(value):
        return "–"
    text = f"{value:.3f}"
    return f"**{text}**" if text == f"{best:.3f}" else text


def consistency_table(rows: Mapping[str, float], heading: str) -> str:
    """A Markdown table of one column."""
    lines = [f"| Method | {heading} |", "|---|---|"]
    best = max((v for v in rows.values() if not np.isnan(v)), default=float("nan"))
    return "\n".join([*lines, *(f"| {name} | {_cell(v, best)} |" for name, v in rows.items())])


def claims_table(claims: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table: the paper's differences beside ours, with and without CORR.

    What has the paper's sign both ways is bold: with few cases CORR alone can make a difference.
    """
    domains = list(claims[0]["here"]) if claims else []
    lines = [
        f"| Claim | paper, in domain | paper, MSSEG'16 | {' | '.join(domains)} |",
        f"|---|---|---|{'---|' * len(domains)}",
    ]
    for claim in claims:
        paper = [f"{claim[key]:+.3f}" for key in ("paper_in_domain", "paper_out_of_domain")]
        pairs = ((claim["here"][d], claim["here_without_corr"][d]) for d in domains)
        here = [_signed(*pair) for pair in pairs]
        lines.append(f"| {claim['claim']} | {' | '.join([*paper, *here])} |")
    return "\n".join(lines)


def _signed(difference: float | None, without_corr: float | None) -> str:
    """All of the paper's differences are gains."""
    both = (difference, without_corr)
    texts = ["–" if value is None else f"{value:+.3f}" for value in both]
    text = f"{texts[0]} ({texts[1]})"
    return f"**{text}**" if all(v is not None and v > 0 for v in both) else text
