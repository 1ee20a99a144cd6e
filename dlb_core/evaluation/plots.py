"""The evaluation's plots, as SVG that a page can hold."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from dlb_core.evaluation.document import Evaluation, MethodEntry, Summary

STYLES = (("#14506e", "o"), ("#c2571a", "s"), ("#7d8791", "x"))
"""Colour and marker of each method, in their order; told apart without colours too."""
_SETTINGS: Any = {
    "svg.hashsalt": "dlb",  # the same data gives the same bytes
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot and what it shows, in words."""

    source: str
    """SVG as a data URI."""
    title: str
    alt: str


def draw(evaluation: Evaluation) -> tuple[Plot, ...]:
    """Bland-Altman of each bundle, and Dice against lesion load."""
    overall = dict(zip(evaluation.methods, evaluation.summaries, strict=False))
    bundles = [(method, group) for method, group in overall.items() if method.sha256]
    with matplotlib.rc_context(_SETTINGS):
        return (
            *(_bland_altman(evaluation, method, group) for method, group in bundles),
            _dice_by_load(evaluation),
        )


def _bland_altman(evaluation: Evaluation, method: MethodEntry, group: Summary) -> Plot:
    scores = [result.scores for result in evaluation.of(method.id)]
    means = [(s.predicted_ml + s.reference_ml) / 2 for s in scores]
    differences = [s.predicted_ml - s.reference_ml for s in scores]
    figure, axes = _axes("mean of predicted and reference, ml", "predicted − reference, ml")
    colour, marker = STYLES[evaluation.methods.index(method)]
    axes.scatter(means, differences, s=26, color=colour, marker=marker)
    axes.axhline(0, color="#b9c4ce", linewidth=0.8)
    said = "fewer than two cases, so no limits of agreement"
    if group.volumes:
        limits = group.volumes
        for value, style in (
            (limits.bias_ml, "-"),
            (limits.lower_ml, "--"),
            (limits.upper_ml, "--"),
        ):
            axes.axhline(value, color=colour, linewidth=1, linestyle=style)
        said = (
            f"bias {limits.bias_ml:.2f} ml, limits of agreement {limits.lower_ml:.2f} to "
            f"{limits.upper_ml:.2f} ml"
        )
    return Plot(
        _data_uri(figure), f"Volumes, {method.label}", f"Bland–Altman of {method.label}: {said}."
    )


def _dice_by_load(evaluation: Evaluation) -> Plot:
    figure, axes = _axes("reference lesion volume, ml", "Dice")
    loads: list[float] = []
    for method, (colour, marker) in zip(evaluation.methods, STYLES, strict=False):
        scores = [result.scores for result in evaluation.of(method.id)]
        loads = [s.reference_ml for s in scores]
        dices = [s.dice for s in scores]
        axes.scatter(loads, dices, s=26, color=colour, marker=marker, label=method.label)
    axes.set_ylim(-0.03, 1.03)
    if _spans_decades(loads):
        axes.set_xscale("log")
        axes.set_xlabel("reference lesion volume, ml (logarithmic)")
    axes.legend(frameon=False, loc="best")
    return Plot(
        _data_uri(figure),
        "Dice by lesion load",
        f"Dice of {len(loads)} cases against their lesion volume, one mark a case and method.",
    )


def _spans_decades(loads: Sequence[float]) -> bool:
    return min(loads) > 0 and max(loads) > 10 * min(loads)


def _axes(across: str, up: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(4.6, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    return figure, axes


def _data_uri(figure: Figure) -> str:
    file = BytesIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(file.getvalue()).decode("ascii")
