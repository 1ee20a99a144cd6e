"""What a bundle says of itself: typed, tied to its weights, and the same in manifest and card."""

import json
import shutil
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import bench_accuracy
from benchmarks.bench_accuracy import figures, found_by_size, without_the_smallest
from dlb_core.bundled import default_bundle
from dlb_core.checkpoints import MANIFEST, MODEL_CARD, Bundle, open_bundle, verify_bundle
from dlb_core.cli.main import main
from dlb_core.evaluation.cases import ReadyCase
from dlb_core.evaluation.document import MethodEntry
from dlb_core.evaluation.figures import facts_of
from dlb_core.model_card import figure_rows, has_place_for_figures, refreshed, training_text
from dlb_core.model_facts import Facts, Training, read_facts
from dlb_core.volume import Grid
from tests.unit.bundles import write_tiny_bundle
from tests.unit.evaluations import METHODS, make_evaluation

MEASURED: dict[str, Any] = {
    "title": "Two cases",
    "protocol": "Drawn by one rater, compared on the FLAIR's grid.",
    "command": "python measure.py",
    "seen_in_training": False,
    "results": [
        {"cases": ["07"], "values": {"dice": 0.416, "predicted_ml": 1.592}},
        {"cases": ["19"], "values": {"dice": 0.749, "predicted_ml": 31.818}},
    ],
}
FACTS: dict[str, Any] = {
    "training_data": ["Nothing: random weights."],
    "evaluation": [MEASURED],
    "known_failures": ["**All of them**: it was never trained."],
    "intended_use": ["Tests."],
}
RUN: dict[str, Any] = {
    "recipe": "compact",
    "first_stage": "generic",
    "first_stage_steps": 25,
    "batch_size": 1,
    "cube_voxels": 64,
    "cases": {"anatomies": 1},
}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that nobody may change."""
    return write_tiny_bundle(tmp_path_factory.mktemp("facts") / "bundle").folder


@pytest.fixture
def bundle(pristine: Path, tmp_path: Path) -> Bundle:
    """A copy to describe."""
    return open_bundle(shutil.copytree(pristine, tmp_path / "bundle"))


def write(folder: Path, facts: object, name: str = "figures.json") -> str:
    """A file of figures."""
    path = folder / name
    path.write_text(json.dumps(facts))
    return str(path)


def describe(bundle: Bundle, facts: object, *options: str) -> int:
    """Run the command."""
    file = write(bundle.folder.parent, facts)
    return main(["bundle", "describe", str(bundle.folder), "--figures", file, *options])


def test_facts_go_into_the_manifest_and_the_networks_stay(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    """Figures belong to weights: describing them must not make others of them."""
    assert describe(bundle, FACTS) == 0

    told = capsys.readouterr().out
    after = open_bundle(bundle.folder)
    verify_bundle(after)
    assert after.manifest.facts == Facts.model_validate_json(json.dumps(FACTS))
    assert after.manifest.networks == bundle.manifest.networks
    assert after.weights_sha256 == bundle.weights_sha256
    assert after.sha256 != bundle.sha256
    assert all(digest in told for digest in (bundle.sha256, after.sha256, bundle.weights_sha256))


def test_describing_twice_alike_changes_nothing(bundle: Bundle) -> None:
    """Else results would become another bundle's for no reason."""
    describe(bundle, FACTS)
    once = open_bundle(bundle.folder).sha256

    describe(bundle, FACTS)

    assert open_bundle(bundle.folder).sha256 == once


def test_a_manifest_from_before_there_were_facts_loads_and_verifies(bundle: Bundle) -> None:
    """Bundles that people have must go on working, and can be described."""
    manifest = json.loads((bundle.folder / MANIFEST).read_text())
    del manifest["facts"]
    (bundle.folder / MANIFEST).write_text(json.dumps(manifest | {"schema_version": "1.0"}))

    old = open_bundle(bundle.folder)

    verify_bundle(old)
    assert old.manifest.facts is None
    assert describe(old, FACTS) == 0
    assert open_bundle(bundle.folder).manifest.schema_version == "1.1"


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({}, "say nothing"),
        ([], "figures.json is not a file of figures"),
        ({"evalaution": [MEASURED]}, "evalaution"),
        ({"evaluation": [MEASURED | {"protocol": " "}]}, "evaluation.0.protocol"),
        ({"evaluation": [MEASURED | {"results": []}]}, "evaluation.0.results"),
        ({"evaluation": [MEASURED | {"seen_in_training": "no"}]}, "seen_in_training"),
        ({"evaluation": [MEASURED | {"weights_sha256": "0" * 64}]}, "of other weights"),
        ({"evaluation": [MEASURED | {"results": MEASURED["results"][:1] * 2}]}, "same cases"),
        ({"known_failures": ["one\n<!-- /dlb -->"]}, "known_failures.0"),
        (
            {"training": {"runs": [RUN | {"samples": {"labelled": 0.3, "synthesised": 0.3}}]}},
            "add up to 1",
        ),
    ],
)
def test_rubbish_is_refused_and_nothing_written(
    bundle: Bundle, facts: object, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A manifest is believed: what goes in must make sense."""
    before = {path.name: path.read_bytes() for path in bundle.folder.iterdir()}

    status = describe(bundle, facts)

    assert status == 2
    assert message in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in bundle.folder.iterdir()} == before


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dice": 74.9}, "dice cannot be 74.9"),
        ({"tpr": -0.1}, "tpr cannot be -0.1"),
        ({"volume_difference": -1.5}, "volume_difference cannot be -1.5"),
        ({"dcie": 0.5}, "'dcie' is no measure"),
        ({"dice": float("nan")}, "finite"),
        ({}, "at least 1"),
    ],
)
def test_impossible_figures_are_refused(
    bundle: Bundle, values: dict[str, float], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Per cent for a share is the likeliest slip of all."""
    results = [{"cases": ["07"], "values": values}]

    assert describe(bundle, {"evaluation": [MEASURED | {"results": results}]}) == 2
    assert message in capsys.readouterr().err


def test_figures_on_a_training_case_cannot_pass_for_unseen(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    """The manifest knows which cases shaped the weights."""
    name_as_trained_on(bundle, "19")

    assert describe(bundle, FACTS) == 2
    assert "19 among the cases that shaped the weights" in capsys.readouterr().err
    assert describe(bundle, {"evaluation": [MEASURED | {"seen_in_training": True}]}) == 0
    assert "no figures for new patients" in (bundle.folder / MODEL_CARD).read_text()


LEAVE_ONE_OUT = MEASURED | {
    "leave_one_out": True,
    "results": [
        {"cases": ["19"], "values": {"dice": 0.749}},
        {"cases": ["19"], "method": "best fixed threshold", "values": {"dice": 0.536}},
    ],
}


def test_leave_one_out_figures_say_that_they_are_of_other_weights(bundle: Bundle) -> None:
    """The usual way with few cases: measure each without it, then train on all."""
    name_as_trained_on(bundle, "07", "19")
    two_measures = [{"cases": ["19"], "values": {"dice": 0.749, "tpr": 0.6}}]
    several = LEAVE_ONE_OUT | {"results": two_measures + LEAVE_ONE_OUT["results"][1:]}

    assert describe(bundle, {"evaluation": [LEAVE_ONE_OUT | {"weights_sha256": "0" * 64}]}) == 0
    card = (bundle.folder / MODEL_CARD).read_text()
    assert "of weights made in the same way without that case, not of this bundle's own" in card
    assert "| Dice of case | trained without the case | best fixed threshold |" in card
    assert "this bundle |" not in card

    assert describe(bundle, {"evaluation": [several]}) == 0
    card = (bundle.folder / MODEL_CARD).read_text()
    assert "| 19 | trained without the case | 0.749 | 0.600 |" in card


@pytest.mark.parametrize(
    ("trained_on", "own_weights", "change", "message"),
    [
        (("07", "19"), True, {}, "measure each case with weights trained without it"),
        (("07", "19"), False, {"seen_in_training": True}, "was not seen in training"),
        (("07",), False, {}, "does not name 19 among"),
    ],
)
def test_leave_one_out_figures_are_not_of_this_bundle(
    bundle: Bundle,
    trained_on: tuple[str, ...],
    own_weights: bool,
    change: dict[str, object],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Figures on training cases must not slip in under another name."""
    name_as_trained_on(bundle, *trained_on)
    digest = open_bundle(bundle.folder).weights_sha256 if own_weights else "0" * 64
    measured = LEAVE_ONE_OUT | {"weights_sha256": digest} | change

    assert describe(bundle, {"evaluation": [measured]}) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--figures f.json --reference R", "one of --seen, --unseen, --leave-one-out"),
        ("--figures f.json --unseen", "say --reference"),
        ("--leave-one-out", "--weights that left it out"),
        ("--leave-one-out --weights BUNDLE --case 07 a b c", "one case at a time"),
        ("--leave-one-out --weights BUNDLE", "these weights were trained on 19"),
        ("--unseen --weights BUNDLE", "these weights were trained on 19"),
    ],
)
def test_the_benchmark_refuses_figures_that_nobody_vouches_for(
    bundle: Bundle,
    options: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before the first case is segmented."""
    name_as_trained_on(bundle, "19")
    given = [str(bundle.folder) if word == "BUNDLE" else word for word in options.split()]
    monkeypatch.setattr("sys.argv", ["bench_accuracy", "--case", "19", "a", "b", "c", *given])

    with pytest.raises(SystemExit):
        bench_accuracy.main()
    assert message in capsys.readouterr().err


def name_as_trained_on(bundle: Bundle, *cases: str) -> None:
    """Enter cases into the bundle's manifest."""
    manifest = json.loads((bundle.folder / MANIFEST).read_text())
    trained = manifest | {"training": {"cases": cases}}
    (bundle.folder / MANIFEST).write_text(json.dumps(trained))


def test_what_the_files_leave_out_stays(bundle: Bundle) -> None:
    """New figures must not cost the training's own account."""
    describe(bundle, FACTS)

    describe(bundle, {"intended_use": ["Demonstrations."]})

    facts = open_bundle(bundle.folder).manifest.facts
    expected = FACTS | {"intended_use": ["Demonstrations."]}
    assert facts == Facts.model_validate_json(json.dumps(expected))


def test_a_fresh_card_is_filled_and_one_written_by_hand_keeps_its_words(bundle: Bundle) -> None:
    """Whoever writes around the tables must not lose it to the next figures."""
    card = bundle.folder / MODEL_CARD
    assert "Nothing was measured" in card.read_text()
    card.write_text("# Ours\n\n<!-- dlb: figures -->\nold\n<!-- /dlb -->\n\nSigned: us.\n")

    describe(bundle, FACTS)

    text = card.read_text()
    assert text.startswith("# Ours\n\n<!-- dlb: figures -->\n**Two cases.** Drawn by one rater")
    assert "| 07 | 1.6 | 0.416 |\n| 19 | 31.8 | 0.749 |\n| mean |  | 0.583 |\n" in text
    assert text.endswith("<!-- /dlb -->\n\nSigned: us.\n")


def test_a_card_without_a_place_for_figures_is_not_overwritten(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    """Manifest and card would say different things, or someone's work would be gone."""
    card = bundle.folder / MODEL_CARD
    card.write_text("Dice 0.9, trust us.\n")

    assert describe(bundle, FACTS) == 2
    assert "<!-- dlb: figures -->" in capsys.readouterr().err
    assert card.read_text() == "Dice 0.9, trust us.\n"
    assert open_bundle(bundle.folder).sha256 == bundle.sha256
    assert describe(bundle, FACTS, "--new-card") == 0
    assert "never trained" in card.read_text()


def test_show_prints_the_figures(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody should have to read JSON for them."""
    describe(bundle, FACTS)
    capsys.readouterr()

    main(["bundle", "show", str(bundle.folder)])

    told = capsys.readouterr().out
    assert all(text in told for text in ("0.749", "0.583", "python measure.py", "- Tests."))
    assert "- All of them: it was never trained." in told


def test_files_add_up_and_do_not_contradict(tmp_path: Path) -> None:
    """Figures come from programs, a case at a time perhaps; words from people."""
    first, second = (
        write(tmp_path, {"evaluation": [MEASURED | {"results": [result]}]}, f"{n}.json")
        for n, result in enumerate(MEASURED["results"])
    )
    words = write(tmp_path, {"intended_use": ["Tests."]}, "words.json")

    facts = read_facts([Path(first), Path(words), Path(second)])

    assert facts == Facts.model_validate_json(
        json.dumps({"evaluation": [MEASURED], "intended_use": ["Tests."]})
    )
    with pytest.raises(Exception, match="intended_use: in another file too"):
        read_facts([Path(words), Path(words)])


def test_one_measure_of_several_methods_stands_in_a_column_each() -> None:
    """Dice at six thresholds on two cases would else be eighteen rows."""
    results = [
        {"cases": [case], "method": method, "values": {"dice": dice}}
        for method, case, dice in (("at 0.2", "a", 0.25), ("at 0.4", "a", 0.5), ("at 0.4", "b", 1))
    ]
    facts = Facts.model_validate_json(json.dumps({"evaluation": [MEASURED | {"results": results}]}))

    header, rows = figure_rows(facts.evaluation[0])

    assert header == ["Dice of case", "at 0.2", "at 0.4"]
    assert rows == [["a", "0.250", "0.500"], ["b", "", "1.000"], ["mean", "", "0.750"]]


def test_how_much_is_synthetic_counts_every_run_by_its_samples() -> None:
    """A long synthetic run before a short real one is mostly synthetic."""
    runs = [
        RUN | {"samples": {"synthesised": 1}},
        RUN | {"network_steps": 1, "samples": {"labelled": 0.5, "transplanted": 0.5}},
    ]
    training = Training.model_validate_json(json.dumps({"runs": runs}))

    text = training_text(training)

    assert "20 % of the samples were synthetic images; 60 % held lesions" in text


@pytest.mark.parametrize(
    ("first_steps", "said"),
    [(999, "over 99 % held"), (0, "50 % held")],
)
def test_nearly_all_samples_are_not_all(first_steps: int, said: str) -> None:
    """A few real lesions among thousands of painted ones are real nevertheless."""
    runs = [
        RUN | {"first_stage_steps": first_steps, "samples": {"synthesised": 1}},
        RUN | {"first_stage_steps": 1, "samples": {"labelled": 0.5, "transplanted": 0.5}},
    ]
    training = Training.model_validate_json(json.dumps({"runs": runs}))

    assert said in training_text(training)


def test_an_evaluation_gives_figures_to_describe_its_bundle_with(bundle: Bundle) -> None:
    """Numbers that nobody types cannot be typed wrongly; training cases stand by themselves."""
    ours, *others = METHODS
    seen = MethodEntry(**ours.model_dump() | {"trained_on": ("case-1",)})
    evaluation = make_evaluation(3, methods=(seen, *others))

    facts = facts_of(evaluation, bundle)
    written = facts.model_dump(mode="json", exclude_defaults=True)

    unseen, trained = facts.evaluation
    assert unseen.cases == {"case-0", "case-2"}
    assert trained.cases == {"case-1"}
    assert [unseen.seen_in_training, trained.seen_in_training] == [False, True]
    assert unseen.results[0].values["dice"] == pytest.approx(0.9)
    assert unseen.results[0].values["reference_ml"] == pytest.approx(0.5)
    assert describe(bundle, written) == 0


def test_the_benchmark_gives_figures_to_describe_a_bundle_with(bundle: Bundle) -> None:
    """The shipped figures come from it."""
    scores = {"dice": 0.749, "volume_difference": -0.361, "predicted_ml": 31.818, "ppv": None}
    results = {
        "19": {
            "ensemble": scores,
            "baseline": scores | {"threshold": "grey-matter mode + 1 sd"},
            "dice_at": {"0.1": 0.809, "0.5": 0.749},
            "found_by_size": {"under 3 mm³": {"lesions": 11, "share": 0.0}},
            "without_the_smallest": {"reference_lesions": 87.0, "lesion_wise_f1": 0.5},
        }
    }
    args = Namespace(
        input_state="raw",
        weights=bundle.folder,
        seen=False,
        leave_one_out=False,
        reference="three raters",
    )

    facts = figures(results, args)

    masks, thresholds, larger, sizes = facts.evaluation
    assert [result.method for result in masks.results] == ["this bundle", "best fixed threshold"]
    assert masks.results[0].values == {
        "dice": 0.749,
        "volume_difference": -0.361,
        "predicted_ml": 31.818,
    }
    assert [result.values["dice"] for result in thresholds.results] == [0.809, 0.749]
    assert (sizes.results[0].method, larger.results[0].method) == ("of under 3 mm³", "this bundle")
    assert masks.weights_sha256 == bundle.weights_sha256

    args.leave_one_out = True
    other, *_ = figures(results, args).evaluation
    assert (other.leave_one_out, other.weights_sha256) == (True, "")
    assert "--leave-one-out --weights" in other.command


def test_the_benchmark_counts_lesions_by_their_size() -> None:
    """A speck that was missed is not as grave as a plaque that was."""
    reference = np.zeros((40, 20, 20), dtype=bool)
    reference[2, 2, 2] = True  # 1 voxel of 2 mm³: found
    reference[2, 8, 2] = True  # missed
    reference[8:10, 2:5, 2] = True  # 6 voxels: found
    reference[20:30, 2:10, 2:5] = True  # 240 voxels: missed
    found = np.zeros_like(reference)
    found[2, 2, 2] = found[8, 2, 2:6] = found[36, 15, 15] = True
    case = ReadyCase(
        image=np.zeros((2, 1, 1, 1), dtype=np.float32),
        brain_mask=np.ones((1, 1, 1), dtype=bool),
        reference=reference,
        grid=Grid(reference.shape, np.diag([2.0, 1, 1, 1])),
        to_mni=None,
        mni_voxel_mm3=1.0,
    )

    assert found_by_size(found, case) == {
        "under 3 mm³": {"lesions": 2, "share": 0.5},
        "10 to 30 mm³": {"lesions": 1, "share": 1},
        "100 mm³ and more": {"lesions": 1, "share": 0},
    }
    assert without_the_smallest(found, case) == {
        "reference_lesions": 2,
        "predicted_lesions": 1,
        "lesion_wise_fdr": 0,
        "lesion_wise_tpr": 0.5,
        "lesion_wise_f1": 0.667,
    }
    assert found_by_size(found, replace(case, reference=np.zeros_like(reference))) == {}
    assert without_the_smallest(np.zeros_like(found), case)["lesion_wise_f1"] == 0


def test_the_shipped_card_says_what_the_shipped_manifest_says() -> None:
    """Two accounts of the same weights are one too many if they differ."""
    bundle = open_bundle(default_bundle())
    card = (bundle.folder / MODEL_CARD).read_text(encoding="utf-8")

    assert refreshed(card, bundle.manifest) == card
    if bundle.manifest.facts and bundle.manifest.facts.evaluation:
        assert has_place_for_figures(card)
