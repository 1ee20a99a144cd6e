"""Draw a training run's metrics log: losses and learning rate over the steps."""

import json
import math
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from dlb_core.artefacts import whole_file
from dlb_core.training.run_folder import METRICS

CURVES = "curves.png"
_SIZE_INCHES = (7.0, 5.0)
_DPI = 110
_TRAINING, _VALIDATION, _RATE = "#1f77b4", "#d62728", "#555555"


@dataclass(frozen=True, slots=True)
class Curve:
    """One quantity over the steps; what was not measured is not in it."""

    steps: list[int]
    values: list[float]


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Rows of a metrics log in the order of their steps, each step once.

    A resumed run writes the epochs after its last checkpoint again, and a killed one may
    leave half a line: the later row wins, the half line is left out.
    """
    rows: dict[int, dict[str, Any]] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        rows[int(row["step"])] = row
    return [rows[step] for step in sorted(rows)]


def curve_of(rows: list[dict[str, Any]], quantity: str) -> Curve:
    """One quantity of a metrics log, without the steps at which it is missing or no number."""
    pairs = [(row["step"], row.get(quantity)) for row in rows]
    found = [(step, value) for step, value in pairs if value is not None and math.isfinite(value)]
    return Curve([step for step, _ in found], [value for _, value in found])


def write_curves(run_folder: Path) -> Path:
    """Draw a run's losses and learning rate into `curves.png`.

    Parameters
    ----------
    run_folder : Path
        Holds `metrics.jsonl`, or not yet: the picture is empty then.

    Returns
    -------
    Path
        The picture.
    """
    path = run_folder / CURVES
    picture = _draw(run_folder.name, read_metrics(run_folder / METRICS))
    with whole_file(path) as file:
        file.write(picture)
    return path


def _draw(title: str, rows: list[dict[str, Any]]) -> bytes:
    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    losses, rate = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _plot(losses, curve_of(rows, "training_loss"), _TRAINING, "training")
    _plot(losses, curve_of(rows, "validation_loss"), _VALIDATION, "validation")
    _plot(rate, curve_of(rows, "learning_rate"), _RATE, "learning rate")
    losses.set(title=title, ylabel="loss")
    rate.set(xlabel="step", ylabel="learning rate")
    for axes in (losses, rate):
        axes.grid(alpha=0.3)
    if losses.lines:
        losses.legend()
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=_DPI, metadata={"Software": None})
    return picture.getvalue()


def _plot(axes: Any, curve: Curve, colour: str, label: str) -> None:
    if curve.steps:
        axes.plot(curve.steps, curve.values, color=colour, label=label, marker=".", markersize=3)
