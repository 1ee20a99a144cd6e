"""Curves of a training run."""

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dlb_core.training.cache import open_cache
from dlb_core.training.curves import CURVES, curve_of, read_metrics, write_curves
from dlb_core.training.run_folder import METRICS
from dlb_core.training.samples import SampleMaker
from dlb_core.training.trainer import train
from tests.unit.training_kit import RECIPE, write_training_cache


def _log(folder: Path, *rows: dict[str, float | None], tail: str = "") -> Path:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / METRICS).write_text(lines + tail)
    return folder


def _row(step: int, loss: float, validation: float | None = None) -> dict[str, float | None]:
    return {
        "step": step,
        "training_loss": loss,
        "validation_loss": validation,
        "learning_rate": 1e-3,
    }


def _pixels(path: Path) -> NDArray[np.int64]:
    return np.asarray(Image.open(BytesIO(path.read_bytes())).convert("RGB")).astype(np.int64)


def _num_red(pixels: NDArray[np.int64]) -> int:
    return int(((pixels[..., 0] > 180) & (pixels[..., 1] < 80) & (pixels[..., 2] < 80)).sum())


def test_the_validation_loss_is_drawn_where_there_is_one(tmp_path: Path) -> None:
    """A curve that is missing, or drawn from nothing, misleads."""
    without = _num_red(_pixels(write_curves(_log(tmp_path, _row(4, 0.9), _row(8, 0.5)))))
    with_it = _num_red(_pixels(write_curves(_log(tmp_path, _row(4, 0.9, 1.0), _row(8, 0.5, 0.6)))))

    assert without == 0
    assert with_it > 100


def test_a_resumed_runs_log_reads_as_one_curve(tmp_path: Path) -> None:
    """After a kill the epochs since the checkpoint are logged again, and a line may be torn."""
    _log(
        tmp_path, _row(4, 0.9), _row(8, 0.7), _row(12, 0.6), _row(8, 0.71), tail='{"step": 12, "tr'
    )

    curve = curve_of(read_metrics(tmp_path / METRICS), "training_loss")

    assert curve.steps == [4, 8, 12]
    assert curve.values == [0.9, 0.71, 0.6]


def test_what_is_no_number_is_left_out(tmp_path: Path) -> None:
    """A loss that overflowed must not take the axis with it."""
    _log(tmp_path, _row(4, float("nan")))
    assert write_curves(tmp_path).stat().st_size > 0

    _log(tmp_path, _row(4, 0.9), _row(8, float("nan")), _row(12, float("inf")), _row(16, 0.5))

    curve = curve_of(read_metrics(tmp_path / METRICS), "training_loss")

    assert curve.steps == [4, 16]
    assert write_curves(tmp_path).stat().st_size > 0


@pytest.mark.parametrize("make_log", [True, False])
def test_a_run_without_epochs_has_an_empty_picture(tmp_path: Path, make_log: bool) -> None:
    """Asked for too early is no error."""
    if make_log:
        _log(tmp_path)

    assert _pixels(write_curves(tmp_path)).shape[2] == 3


def test_a_finished_run_has_its_picture(tmp_path: Path) -> None:
    """Also where it ended before its first checkpoint."""
    cases = open_cache(write_training_cache(tmp_path / "cache"))
    folder = tmp_path / "run"
    recipe = RECIPE.model_copy(update={"num_steps": 2, "steps_per_epoch": 1})

    train(folder, recipe, SampleMaker(cases, recipe))

    assert _pixels(folder / CURVES).shape[1] > 400
