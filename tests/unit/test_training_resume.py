"""`dlb train --resume`: what it takes from the run's folder, and what it refuses."""

import fcntl
import os
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from dlb_core.checkpoints import open_bundle
from dlb_core.cli.main import main
from dlb_core.errors import InputError, RunBusy
from dlb_core.network import UNet3d
from dlb_core.training import recipe
from dlb_core.training.cache import read_index, relabel_cases
from dlb_core.training.run_folder import locked, taking_part
from dlb_core.training.stored_run import SETTINGS, read_run, store_run
from tests.unit.training_kit import RECIPE, shared_training_cache


@pytest.fixture(autouse=True)
def tiny_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--recipe compact` takes seconds."""
    monkeypatch.setitem(recipe.RECIPES, "compact", RECIPE)


@pytest.fixture
def begun(tmp_path: Path, cache: Path) -> Path:
    """A run of which one of two networks is trained: interrupted, as far as its folder says."""
    start = tmp_path / "start.safetensors"
    save_file(dict(UNet3d(RECIPE.architecture).state_dict()), start)
    command = ("train", "--cache", str(cache), "--bundle", str(tmp_path / "bundle"))
    options = ("--steps", "2", "--specialise-steps", "1", "--seed", "7", "--networks", "0-1")
    where = ("--run", str(tmp_path / "run"), "--initialise-from", str(start))
    assert main([*command, *options, *where]) == 0
    (tmp_path / "run" / "network-01" / "weights.safetensors").unlink()
    return tmp_path / "run"


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared cases."""
    return shared_training_cache(tmp_path_factory)


def _resume(run: Path, *more: str) -> int:
    return main(["train", "--run", str(run), "--resume", *more])


def test_a_run_is_resumed_by_its_own_settings_wherever_it_lies_now(
    begun: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody remembers a month-old command line, nor does a new default change the run."""
    other = RECIPE.model_copy(update={"learning_rate": 0.5})
    monkeypatch.setitem(recipe.RECIPES, "compact", other)
    moved = begun.rename(begun.with_name("moved"))

    assert _resume(moved, "--threads", "1", "--checkpoint-every", "9") == 0

    assert (moved / "network-01" / "weights.safetensors").exists()
    assert not (moved / "network-02").exists()
    assert not begun.exists()
    assert "73 of 75 networks to go" in capsys.readouterr().out
    kept = read_run(moved)
    assert (kept.networks, kept.plan.recipe.seed, kept.plan.recipe.num_steps) == ([0, 1], 7, 2)


def test_options_that_contradict_the_run_are_refused_by_name(
    begun: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else they would be ignored without a word, or half the run be another one's."""
    contradictions = {
        "--seed 8": "--seed: the run was begun with --seed 7",
        "--cache elsewhere": "--cache: the run was begun with --cache /",
        "--generic-only": "--generic-only: the run was begun without",
        "--networks 1-3": "--networks: the run was not begun with 2, 3",
        "--without 2": "--without: the run was begun without",
        "--recipe paper": "--recipe: the run was begun with --recipe compact",
    }
    for options, told in contradictions.items():
        assert _resume(begun, *options.split()) == 2
        assert told in capsys.readouterr().err

    assert not (begun / "network-01" / "weights.safetensors").exists()


def test_a_run_whose_images_or_start_changed_is_refused(
    begun: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of its networks would have learned from something else than its manifest says."""
    start = tmp_path / "start.safetensors"
    before = start.read_bytes()
    save_file({name: 2 * value for name, value in load_file(start).items()}, start)
    assert _resume(begun) == 2
    start.write_bytes(before)
    own = shutil.copytree(cache, tmp_path / "own", copy_function=os.link)
    command = [*("train", "--cache", str(own), "--run", str(tmp_path / "other"), "--bundle", "b")]
    assert main([*command, "--networks", "0", "--steps", "1", "--specialise-steps", "1"]) == 0
    prepared_anew = {"made_from": {"flair": "another file"}}
    relabel_cases(own, [entry.model_copy(update=prepared_anew) for entry in read_index(own)[:1]])

    assert _resume(tmp_path / "other") == 2

    told = capsys.readouterr().err
    assert "begun with other weights to start from" in told
    assert "begun with other images of a" in told


def test_a_refused_command_leaves_the_run_as_it_was(
    begun: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else `--resume` would go by the settings of a command that never trained."""
    command = ["train", "--cache", str(cache), "--run", str(begun), "--bundle", "other"]
    same = ["--steps", "2", "--specialise-steps", "1", "--seed", "7", "--networks", "1"]
    start = ["--initialise-from", str(tmp_path / "start.safetensors")]
    settings = (begun / SETTINGS).read_bytes()

    run = read_run(begun)
    validated = run.plan.model_copy(update={"validation_subjects": ["1"]})

    assert main([*command, *same, *start, "--without", "3"]) == 2
    with pytest.raises(InputError, match="begun with other validation subjects"):
        store_run(run.model_copy(update={"plan": validated}))

    assert "begun with other cases (c)" in capsys.readouterr().err
    assert (begun / SETTINGS).read_bytes() == settings


def test_of_two_that_begin_alone_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two `--resume` at once would train the same networks; the second comes at the worst time."""
    lock, second = fcntl.flock, []

    def flock(handle: int, how: int) -> None:
        if how == fcntl.LOCK_SH and not second:
            second.append("came")
            with pytest.raises(RunBusy), taking_part(tmp_path, alone=True):
                pass
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", flock)

    with taking_part(tmp_path, alone=True):
        assert second


def test_a_queue_may_lie_in_the_run_folder(tmp_path: Path) -> None:
    """`--data` and `--run` may name one folder: a process must not refuse itself."""
    with taking_part(tmp_path, alone=True), locked(tmp_path), taking_part(tmp_path, alone=False):
        pass

    with taking_part(tmp_path, alone=False), pytest.raises(RunBusy):
        taking_part(tmp_path, alone=True).__enter__()


def test_a_run_that_another_process_trains_is_not_resumed(
    begun: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was not interrupted; the same command joins in instead."""
    with taking_part(begun, alone=False):
        assert _resume(begun) == 1

    assert "run is being trained by another process" in capsys.readouterr().err
    assert _resume(begun) == 0


def test_a_folder_without_a_run_is_refused_and_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistyped folder, or a run of an earlier version."""
    old = tmp_path / "old"
    (old / "generic").mkdir(parents=True)

    assert (_resume(tmp_path / "mistyped"), _resume(old)) == (2, 2)
    assert main(["train", "--run", str(old), "--networks", "0"]) == 2

    told = capsys.readouterr().err
    assert "mistyped holds no run to resume" in told
    assert "--cache, --bundle: needed" in told
    assert not (tmp_path / "mistyped").exists()
    assert not (old / SETTINGS).exists()


def test_a_bundle_that_was_lost_is_written_again(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run is finished only while what it made is there."""
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    where = ("--cache", str(cache), "--run", str(run), "--bundle", str(bundle))
    assert main(["train", *where, "--generic-only", "--steps", "1"]) == 0
    manifest = open_bundle(bundle).sha256
    (bundle / "manifest.json").unlink()

    assert _resume(run) == 0

    assert open_bundle(bundle).sha256 == manifest
    assert "finished already" not in capsys.readouterr().out
