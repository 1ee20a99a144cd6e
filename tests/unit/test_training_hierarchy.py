"""From one generic network to a bundle of 75: shared out, killed, resumed, tuned on."""

import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dlb_core.checkpoints import MODEL_CARD, open_bundle, verify_bundle
from dlb_core.cli.main import main
from dlb_core.errors import InputError
from dlb_core.model_facts import CaseCounts, SampleShares
from dlb_core.network import UNet3d
from dlb_core.tiling import NETWORK_LOCATIONS
from dlb_core.training import hierarchy, recipe
from dlb_core.training.cache import open_cache
from dlb_core.training.losses import LossName
from dlb_core.training.run_folder import PLACE, START, WEIGHTS, locked
from dlb_core.training.serial import train_serially
from dlb_core.training.start import from_file
from dlb_core.training.state import PATTERN
from tests.unit.bundles import TINY, write_tiny_bundle
from tests.unit.training_kit import RECIPE, shared_training_cache


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that all tests read."""
    return shared_training_cache(tmp_path_factory)


@pytest.fixture(autouse=True)
def tiny_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--recipe compact` takes seconds."""
    for name in ("compact", "fine-tuning"):
        monkeypatch.setitem(recipe.RECIPES, name, RECIPE)


def _command(cache: Path, folder: Path, *more: str) -> list[str]:
    return [
        *("train", "--cache", str(cache), "--run", str(folder / "run")),
        *("--bundle", str(folder / "bundle"), *more),
    ]


KILLED_RUN = """
import itertools, os, signal, sys
from dlb_core.cli.main import main
from dlb_core.training import recipe, trainer
from tests.unit.training_kit import RECIPE
save_state, saves = trainer.save_state, itertools.count()
def save_state_and_die(folder, *rest):
    save_state(folder, *rest)
    if next(saves) == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
trainer.save_state = save_state_and_die
recipe.RECIPES["compact"] = RECIPE
sys.exit(main(sys.argv[2:]))
"""
GENERIC_STEPS, OWN_STEPS = 3, 2


def test_a_run_killed_at_any_moment_resumes_to_the_same_bundle(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """kill -9, then --resume alone: every file as an undisturbed run gives it."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    fewer = ("--steps", str(GENERIC_STEPS), "--specialise-steps", str(OWN_STEPS))
    moment = str(random.randrange(GENERIC_STEPS + 8 * OWN_STEPS))  # noqa: S311 - no secret
    command = _command(cache, killed, *fewer, "--checkpoint-every", "0")
    child = subprocess.run([sys.executable, "-c", KILLED_RUN, moment, *command], check=False)
    assert child.returncode == -signal.SIGKILL
    assert list((killed / "run").glob(f"*/{PATTERN}")), f"killed at save {moment}"
    resume = ["train", "--run", str(killed / "run"), "--resume"]

    assert main(resume) == 0, f"killed at save {moment}"
    assert main(resume) == 0
    assert main(_command(cache, whole, *fewer)) == 0

    assert "finished already: bundle custom 1" in capsys.readouterr().out
    files = sorted(path.name for path in (whole / "bundle").iterdir())
    assert files == sorted(path.name for path in (killed / "bundle").iterdir())
    for name in files:
        assert (killed / "bundle" / name).read_bytes() == (whole / "bundle" / name).read_bytes()
    bundle = open_bundle(whole / "bundle")
    verify_bundle(bundle)
    assert len({entry.sha256 for entry in bundle.manifest.networks}) == len(NETWORK_LOCATIONS)


def test_the_bundle_is_written_once_all_networks_are_there(cache: Path, tmp_path: Path) -> None:
    """Processes share the work by list; whoever comes last writes it."""
    options = ("--steps", "1", "--specialise-steps", "1", "--networks")

    assert main(_command(cache, tmp_path, *options, "0-1")) == 0
    _put_in_place(tmp_path / "run", range(3, 75))
    assert not (tmp_path / "bundle").exists()
    assert main(_command(cache, tmp_path, *options, "2")) == 0

    assert len(open_bundle(tmp_path / "bundle").manifest.networks) == len(NETWORK_LOCATIONS)


def test_networks_of_two_recipes_are_not_bundled(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The manifest names one recipe: it must be every network's."""
    steps = ("--steps", "1", "--specialise-steps")
    assert main(_command(cache, tmp_path, *steps, "1", "--networks", "0-1")) == 0
    _put_in_place(tmp_path / "run", range(3, 75))

    assert main(_command(cache, tmp_path, *steps, "2", "--networks", "2")) != 0

    assert "network-00 was begun with another recipe" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "bundle").exists()


def test_a_network_begun_for_the_other_hemisphere_is_not_gone_on_with(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Folders that name no place are of the time when all networks thought on the left."""
    command = _command(cache, tmp_path, "--steps", "1", "--specialise-steps", "1", "--networks")
    assert main([*command, "0-1"]) == 0
    for name in ("network-00", "network-01"):
        (tmp_path / "run" / name / PLACE).unlink()

    assert main([*command, "0"]) != 0
    told = " ".join(capsys.readouterr().err.split())
    assert "network-01 was begun with the subvolume on the other side" in told

    (tmp_path / "run" / "network-01" / PLACE).write_text("[83, 2, 20]")
    assert main([*command, "0"]) == 0


def test_a_network_of_another_process_is_left_to_it_and_waited_for(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a run shared by two would stop at the first network that both want."""
    run = _hierarchy(cache, tmp_path)
    run.train_first_stage()
    held = locked(tmp_path / "network-03")
    held.__enter__()
    waited: list[list[int]] = []

    def let_go(_pause_s: float) -> None:
        waited.append(run.missing())
        held.__exit__(None, None, None)

    monkeypatch.setattr("dlb_core.training.serial.time.sleep", let_go)
    train_serially(run, [3, 4], on_progress=lambda _: None)

    assert len(waited) == 1
    assert 3 in waited[0]
    assert 4 not in waited[0]
    assert run.weights_of(3).exists()


def test_networks_start_from_the_generic_weights(cache: Path, tmp_path: Path) -> None:
    """The hierarchy of the paper; which weights they were is on record, and guarded."""
    run = _hierarchy(cache, tmp_path, learning_rate=1e-12)
    generic = load_file(run.train_first_stage())

    specialised = load_file(run.specialise(7))

    for name, tensor in generic.items():
        assert torch.allclose(specialised[name], tensor, atol=1e-6), name
    noted = json.loads((tmp_path / "network-07" / START).read_text())
    assert noted == {"sha256": from_file(run.generic_weights).sha256}


def test_a_run_begun_from_other_weights_is_not_resumed(cache: Path, tmp_path: Path) -> None:
    """The manifest's digests would lie."""
    paths = [_random_weights(tmp_path / f"{seed}.safetensors", seed) for seed in (1, 2)]
    run = tmp_path / "run"
    _hierarchy(cache, run, start=paths[0]).train_first_stage()

    with pytest.raises(InputError, match="other weights to start from"):
        _hierarchy(cache, run, start=paths[1]).train_first_stage()


def test_fine_tuning_trains_each_network_of_a_bundle_on(cache: Path, tmp_path: Path) -> None:
    """A hospital's own cases change each network a little; none is swapped or forgotten."""
    shipped = write_tiny_bundle(tmp_path / "shipped")
    options = ("--from-bundle", str(shipped.folder), "--specialise-steps", "1")
    _put_in_place(tmp_path / "run", (n for n in range(75) if n not in (0, 40, 74)))

    assert main(_command(cache, tmp_path, *options, "--networks", "0,40,74")) == 0

    tuned = open_bundle(tmp_path / "bundle")
    assert tuned.manifest.architecture == TINY
    assert tuned.manifest.training["bundle_sha256"] == shipped.sha256
    assert not (tmp_path / "run" / "generic").exists()
    for index in (0, 40, 74):
        before, after = shipped.load(index), tuned.load(index)
        assert any(not torch.equal(before[name], after[name]) for name in before)
        for name, tensor in before.items():
            assert torch.allclose(after[name], tensor, atol=0.02), name


def test_a_generic_network_cannot_start_from_75_different_ones(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which of them would be a guess."""
    bundle = write_tiny_bundle(tmp_path / "shipped").folder

    status = main(_command(cache, tmp_path, "--initialise-from", str(bundle)))

    assert status == 2
    assert "--from-bundle" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_card_that_is_not_there_is_refused_before_any_work(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not with a traceback from the depths of the first step."""
    status = main(_command(cache, tmp_path, "--device", "cuda"))

    assert status == 2
    assert "finds no GPU" in capsys.readouterr().err
    assert not (tmp_path / "run" / "generic").exists()


def test_a_generic_bundle_is_made_and_started_from(cache: Path, tmp_path: Path) -> None:
    """One small file in 75 places; and the way on from a synthetic-only training."""
    assert main(_command(cache, tmp_path, "--generic-only")) == 0
    first = open_bundle(tmp_path / "bundle")
    second = _command(cache, tmp_path / "second", "--generic-only")

    again = [*second, "--no-quality-augmentation", "--initialise-from", str(first.folder)]
    assert main(again) == 0

    assert {entry.file for entry in first.manifest.networks} == {"generic.safetensors"}
    training = open_bundle(tmp_path / "second" / "bundle").manifest.training
    assert training["generic_start_sha256"] == first.manifest.networks[0].sha256
    assert first.manifest.training["recipe"]["quality_augmentation"] is True
    assert training["recipe"]["quality_augmentation"] is False
    assert training["start_cases"] == first.manifest.training["cases"] == ["a", "b", "c"]


def test_the_manifest_says_by_itself_how_much_was_synthetic(cache: Path, tmp_path: Path) -> None:
    """Of all runs that shaped the weights, and it says so where it knows of no earlier ones."""
    weights = _random_weights(tmp_path / "start.safetensors", 1)
    main(_command(cache, tmp_path, "--generic-only", "--initialise-from", str(weights)))
    again = _command(cache, tmp_path / "second", "--generic-only", "--validate", "1")
    synthetic = RECIPE.model_copy(
        update={"mix": recipe.SampleMix(labelled=0, unlabelled=1, synthesised=1)}
    )
    recipe.RECIPES["compact"] = synthetic

    main([*again, "--initialise-from", str(tmp_path / "bundle")])

    facts = open_bundle(tmp_path / "second" / "bundle").manifest.facts
    assert facts is not None
    assert facts.training is not None
    first, second = facts.training.runs
    assert not facts.training.from_nothing
    assert first.samples.synthesised == pytest.approx(1 / 3, abs=1e-5)
    assert first.samples.painted == pytest.approx(2 / 3, abs=1e-5)
    assert first.cases == CaseCounts(labelled=1, anatomies=1, lesion_masks=1)
    assert (first.first_stage_steps, first.network_steps) == (12, 0)
    assert second.samples == SampleShares(synthesised=1), "no case is there without labels"
    assert second.cases == CaseCounts(anatomies=1, lesion_masks=1, validation=1)
    assert second.early_stopping
    card = (tmp_path / "second" / "bundle" / MODEL_CARD).read_text()
    assert "67 % of the samples were synthetic images; 83 % held lesions" in card
    assert "What came before the first run is not known." in card


def test_a_hand_written_card_survives_a_new_bundle(cache: Path, tmp_path: Path) -> None:
    """Its figures took days; a fresh card says only that nothing was measured."""
    command = _command(cache, tmp_path, "--generic-only")
    main(command)
    card = tmp_path / "bundle" / MODEL_CARD
    card.write_text("Dice 0.7 on the left-out case.\n")

    main(command)
    kept = card.read_text()
    main([*command, "--new-card"])

    assert kept == "Dice 0.7 on the left-out case.\n"
    assert "Nothing was measured" in card.read_text()


def test_validation_keeps_the_best_weights_and_its_subjects_out_of_training(
    cache: Path, tmp_path: Path
) -> None:
    """Early stopping on training data would stop nothing."""
    options = ("--validate", "1", "--networks", "5", "--specialise-steps", "1")
    synthetic = RECIPE.model_copy(update={"mix": recipe.SampleMix(labelled=0, synthesised=1)})
    recipe.RECIPES["compact"] = synthetic

    assert main(_command(cache, tmp_path, *options)) == 0

    for network in ("generic", "network-05"):
        folder = tmp_path / "run" / network
        assert json.loads((folder / "cases.json").read_text()) == ["b", "c"]
        assert json.loads((folder / "validation.json").read_text()) == ["a"]
        line = json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
        assert 0 <= line["validation_loss"] <= 2


def test_the_papers_recipe_asks_for_validation_subjects(cache: Path, tmp_path: Path) -> None:
    """It ends by a validation loss; without one it would run to its maximum in silence."""
    paper = recipe.PAPER

    with pytest.raises(InputError, match="validation subjects"):
        hierarchy.Hierarchy(tmp_path, paper, _shared_out(cache))


def test_a_misspelt_subject_is_refused(cache: Path) -> None:
    """It would stay in the training data, and the left-out figures would be worthless."""
    with pytest.raises(InputError, match="sub-01"):
        hierarchy.share_out(
            open_cache(cache), left_out=frozenset({"sub-01"}), validation=frozenset()
        )


@pytest.mark.parametrize("text", ["75", "5-3", "a", "", "1-", "0-75"])
def test_a_wrong_list_of_networks_is_refused(text: str, tmp_path: Path) -> None:
    """A bundle of 75 is what they are counted against."""
    with pytest.raises(SystemExit):
        main(_command(tmp_path, tmp_path, "--networks", text))


def _put_in_place(run: Path, networks: Iterable[int]) -> None:
    """Weights as other processes leave them."""
    for index in networks:
        folder = run / NETWORK_LOCATIONS[index].name
        folder.mkdir(parents=True)
        _random_weights(folder / WEIGHTS, index)


def _hierarchy(
    cache: Path, folder: Path, *, start: Path | None = None, learning_rate: float = 1e-3
) -> hierarchy.Hierarchy:
    assert RECIPE.specialisation is not None
    own = RECIPE.specialisation.model_copy(update={"learning_rate": learning_rate})
    return hierarchy.Hierarchy(
        folder,
        RECIPE.model_copy(update={"specialisation": own}),
        _shared_out(cache),
        start=from_file(start) if start else None,
    )


def _shared_out(cache: Path) -> hierarchy.TrainingCases:
    return hierarchy.share_out(open_cache(cache), left_out=frozenset(), validation=frozenset())


def _random_weights(path: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    save_file(dict(UNet3d(RECIPE.architecture).state_dict()), path)
    return path


def test_a_subject_cannot_be_left_out_and_validated_on(cache: Path) -> None:
    """It would be left out, and nobody told that nothing is validated."""
    subject = frozenset({"1"})

    with pytest.raises(InputError, match="not to validate on either: 1"):
        hierarchy.share_out(open_cache(cache), left_out=subject, validation=subject)


def test_a_recipe_of_ones_own_is_followed(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Loss and augmentation are settings, not code; a slip in the file is named."""
    own = RECIPE.model_copy(
        update={"name": "own", "loss": LossName.DICE_CROSS_ENTROPY, "pose_augmentation": True}
    )
    file = tmp_path / "own.json"
    file.write_text(own.model_dump_json())
    command = _command(cache, tmp_path, "--generic-only", "--steps", "2", "--recipe")

    assert main([*command, str(file)]) == 0
    trained = open_bundle(tmp_path / "bundle").manifest.training["recipe"]
    file.write_text(own.model_dump_json().replace("dice_cross_entropy", "dice"))
    assert main([*command, str(file)]) == 2
    assert main([*command, "compactt"]) == 2

    assert (trained["loss"], trained["pose_augmentation"]) == ("dice_cross_entropy", True)
    told = capsys.readouterr().err
    assert "own.json is no recipe: loss" in told
    assert "'compactt' is neither a recipe (paper, compact" in told
