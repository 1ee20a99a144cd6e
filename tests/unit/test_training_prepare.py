"""From a table of cases to a training cache."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from dlb_core import preprocessing
from dlb_core.errors import InputError, RunBusy
from dlb_core.nifti import write_volume
from dlb_core.preprocessing.normalise import Mode
from dlb_core.preprocessing.steps import NativeImage, PreprocessedCase
from dlb_core.resampling import resample
from dlb_core.template import MNI_GRID, load_template
from dlb_core.training.cache import (
    IMAGE,
    INDEX,
    LESIONS,
    open_cache,
    read_index,
)
from dlb_core.training.prepare import NATIVE_TO_TEMPLATE, case_arrays, prepare_dataset
from dlb_core.training.run_folder import locked
from dlb_core.volume import Affine, Grid, Volume
from tests.unit.images import SHAPE, centred_affine, plain_image, rigid

COLUMNS = ("name", "subject", "domain", "lesions", "tissues", "t1w", "flair", "input_state")


def _table(folder: Path, *rows: dict[str, str]) -> Path:
    lines = ["\t".join(row.get(column, "") for column in COLUMNS) for row in rows]
    folder.mkdir(exist_ok=True)
    (folder / "cases.tsv").write_text("\n".join(["\t".join(COLUMNS), *lines]) + "\n")
    return folder


def _donor(name: str, subject: str = "s1", **cells: str) -> dict[str, str]:
    return {"name": name, "subject": subject, "lesions": f"{name}.nii.gz"} | cells


def _write_mask(path: Path, start: int) -> None:
    """A mask of few voxels, and another one for every `start`."""
    data = np.zeros(SHAPE, dtype=np.uint8)
    data[start : start + 3, 12:15, 12:15] = 1
    plain_image(path, centred_affine(), data=data)


@pytest.fixture(scope="module")
def prepared_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of two donors, a and b, and its cache."""
    folder = tmp_path_factory.mktemp("prepared")
    data = _table(folder / "data", _donor("a"), _donor("b"))
    _write_mask(data / "a.nii.gz", 8)
    _write_mask(data / "b.nii.gz", 10)
    prepare_dataset(data, folder / "cache")
    return folder


@pytest.fixture
def donors(prepared_once: Path, tmp_path: Path) -> Path:
    """The data set; a copy, to be changed."""
    return Path(shutil.copytree(prepared_once / "data", tmp_path / "data"))


@pytest.fixture
def cache(prepared_once: Path, tmp_path: Path) -> Path:
    """Its cache; a copy, to be changed."""
    return Path(shutil.copytree(prepared_once / "cache", tmp_path / "cache"))


def _arrays(cache: Path) -> dict[str, bytes]:
    """Every case's mask."""
    cases = [(case.entry.name, case.lesions) for case in open_cache(cache)]
    return {name: mask.tobytes() for name, mask in cases if mask is not None}


def _folders(cache: Path) -> set[str]:
    return {path.name for path in cache.iterdir() if path.is_dir()}


def _known_folders(cache: Path) -> set[str]:
    return {entry.folder for entry in read_index(cache)}


def test_a_donor_grows_to_the_templates_size(tmp_path: Path) -> None:
    """Masks of rigidly aligned heads are too small for the template by a known factor."""
    mask = np.zeros(MNI_GRID.shape, dtype=np.uint8)
    mask[80:100, 100:120, 80:100] = 1
    write_volume(tmp_path / "mask.nii.gz", Volume(mask, MNI_GRID.affine), dtype=np.uint8)
    _table(tmp_path, _donor("mask"))

    plan = prepare_dataset(tmp_path, tmp_path / "cache")

    (case,) = open_cache(tmp_path / "cache")
    assert len(plan.tasks) == 1
    assert case.image is None
    assert case.lesions is not None
    assert case.lesions.sum() == pytest.approx(
        mask.sum() * np.linalg.det(NATIVE_TO_TEMPLATE), rel=0.08
    )


def test_tissue_labels_come_to_lie_on_the_template(tmp_path: Path) -> None:
    """Registered by themselves: label maps have no image of their own."""
    template = load_template()
    labels = np.zeros(MNI_GRID.shape, dtype=np.uint8)
    labels[template.brain_mask] = 1
    labels[template.grey_matter > 0.5] = 2
    labels[template.white_matter > 0.5] = 3
    moved = MNI_GRID.affine.copy()
    moved[:3, 3] += (6, -9, 4)
    # Every second voxel: half the resolution, an eighth of the time.
    half = moved @ np.diag([2.0, 2, 2, 1])
    write_volume(tmp_path / "t.nii.gz", Volume(labels[::2, ::2, ::2], half), dtype=np.uint8)
    _table(tmp_path, {"name": "a1", "subject": "s1", "tissues": "t.nii.gz"})

    prepare_dataset(tmp_path, tmp_path / "cache")

    (case,) = open_cache(tmp_path / "cache")
    assert case.tissues is not None
    brain = case.tissues.astype(int).sum(0) > 127
    overlap = 2 * (brain & template.brain_mask).sum() / (brain.sum() + template.brain_mask.sum())
    assert overlap > 0.95
    white = case.tissues[2][template.white_matter > 0.95].mean() / 255
    assert white > 0.8


def _labelled_case(
    flair_to_t1w: Affine, t1w_to_mni: Affine, grids: tuple[Grid, Grid]
) -> PreprocessedCase:
    def native(grid: Grid) -> NativeImage:
        brain = np.ones(grid.shape, dtype=bool)
        return NativeImage(grid, brain, noise=0.0, white_matter=Mode(1.0, ambiguous=False))

    image = np.zeros(MNI_GRID.shape, dtype=np.float32)
    return PreprocessedCase(
        t1w=image,
        flair=image,
        brain_mask=np.ones(MNI_GRID.shape, dtype=bool),
        t1w_to_mni=t1w_to_mni,
        flair_to_t1w=flair_to_t1w,
        native_t1w=native(grids[0]),
        native_flair=native(grids[1]),
    )


@pytest.mark.parametrize("drawn_on", ["T1w", "FLAIR"])
def test_a_mask_comes_to_mni_by_the_way_of_the_image_it_was_drawn_on(drawn_on: str) -> None:
    """The two ways differ by the head's movement between the scans."""
    flair_to_t1w, t1w_to_mni = rigid((4, 0, 6), (8, -5, 3)), rigid((0, 5, 0), (2, 9, -4))
    side = (96, 96, 96)
    grids = Grid(side, centred_affine(side, 2.0)), Grid(side, centred_affine(side, 2.2))
    case = _labelled_case(flair_to_t1w, t1w_to_mni, grids)
    truth = np.zeros(MNI_GRID.shape, dtype=np.float32)
    truth[60:80, 100:120, 70:90] = 1
    grid, to_mni = (
        (grids[0], t1w_to_mni) if drawn_on == "T1w" else (grids[1], t1w_to_mni @ flair_to_t1w)
    )
    drawn = resample(Volume(truth, MNI_GRID.affine), grid, np.linalg.inv(to_mni)) >= 0.5

    arrays = case_arrays(case, Volume(drawn.astype(np.float32), grid.affine))

    assert arrays[IMAGE].shape == (2, *MNI_GRID.shape)
    found = arrays[LESIONS] == 1
    assert 2 * (found & (truth > 0)).sum() / (found.sum() + truth.sum()) > 0.9


def test_images_without_a_mask_are_an_unlabelled_case() -> None:
    """They still show what brains look like."""
    grid = Grid(SHAPE, centred_affine())

    assert case_arrays(_labelled_case(np.eye(4), np.eye(4), (grid, grid)), None).keys() == {IMAGE}


def test_raters_are_fused(tmp_path: Path) -> None:
    """Before the mask travels: each was drawn on the patient's own voxels."""
    data = _table(tmp_path / "data", _donor("a", lesions="1.nii.gz;2.nii.gz;3.nii.gz"), _donor("b"))
    for name, start in (("1", 8), ("2", 8), ("3", 14), ("b", 8)):
        _write_mask(data / f"{name}.nii.gz", start)

    prepare_dataset(data, tmp_path / "cache")

    arrays = _arrays(tmp_path / "cache")
    assert arrays["a"] == arrays["b"]


def test_what_has_not_changed_is_not_prepared_again(donors: Path, cache: Path) -> None:
    """An interrupted preparation goes on where it was, and a second one costs nothing."""
    before = _known_folders(cache)
    _write_mask(donors / "c.nii.gz", 12)
    _table(donors, _donor("a"), _donor("b"), _donor("c"))

    plan = prepare_dataset(donors, cache)

    assert [(task.row.name, task.reason) for task in plan.tasks] == [("c", "new")]
    assert plan.unchanged == ["a", "b"]
    assert before < _known_folders(cache)


def _change_a_file(donors: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write_mask(donors / "a.nii.gz", 12)


def _raise_the_version(donors: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preprocessing, "VERSION", preprocessing.VERSION + 1)


def _cut_an_array(donors: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = cache / read_index(cache)[0].folder / f"{LESIONS}.npy"
    path.write_bytes(path.read_bytes()[:-1])


def _lose_an_array(donors: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(cache / read_index(cache)[0].folder)


def _forget_the_sources(donors: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a cache of an earlier version has it."""
    entries = json.loads((cache / INDEX).read_text())
    (cache / entries[0]["folder"]).rename(cache / "a")
    entries[0] = {key: entries[0][key] for key in ("name", "subject", "domain", "arrays")}
    (cache / INDEX).write_text(json.dumps(entries))


@pytest.mark.parametrize(
    ("change", "renewed"),
    [
        (_change_a_file, {"a": "changed: lesions 1"}),
        (_raise_the_version, {"a": "changed: preprocessing", "b": "changed: preprocessing"}),
        (_cut_an_array, {"a": "its arrays are damaged"}),
        (_lose_an_array, {"a": "its arrays are damaged"}),
        (_forget_the_sources, {"a": "it is not known from what it was made"}),
    ],
)
def test_what_has_changed_is_prepared_again_and_said_so(
    donors: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path, Path, pytest.MonkeyPatch], None],
    renewed: dict[str, str],
) -> None:
    """A cache that no longer is what the table says would train on yesterday's masks."""
    before = _arrays(cache)
    change(donors, cache, monkeypatch)

    plan = prepare_dataset(donors, cache)

    assert {task.row.name: task.reason for task in plan.tasks} == renewed
    after = _arrays(cache)
    assert after["b"] == before["b"]
    assert (after["a"] == before["a"]) == (change is not _change_a_file)
    assert _folders(cache) == _known_folders(cache)


def test_another_label_needs_no_new_arrays(donors: Path, cache: Path) -> None:
    """Sorting subjects into domains must not cost an hour of preprocessing."""
    before = _known_folders(cache)

    plan = prepare_dataset(_table(donors, _donor("a", "s9", domain="site-2"), _donor("b")), cache)

    assert not plan.tasks
    assert [entry.name for entry in plan.relabelled] == ["a"]
    entry = read_index(cache)[0]
    assert (entry.subject, entry.domain) == ("s9", "site-2")
    assert _known_folders(cache) == before


@pytest.mark.parametrize("prune", [False, True])
def test_a_case_that_left_the_table_is_reported_and_removed_if_asked(
    donors: Path, cache: Path, prune: bool
) -> None:
    """It may be another data set's: two may share a cache."""

    plan = prepare_dataset(_table(donors, _donor("b")), cache, prune=prune)

    assert plan.unlisted == ["a"]
    assert [entry.name for entry in read_index(cache)] == (["b"] if prune else ["a", "b"])
    assert _folders(cache) == _known_folders(cache)


def test_bad_rows_are_reported_together_and_change_nothing(donors: Path, cache: Path) -> None:
    """The table's own faults and its files', in one go; nothing half-prepared."""
    before = (cache / INDEX).read_bytes()
    (donors / "c.nii.gz").write_bytes(b"no image")
    _write_mask(donors / "a.nii.gz", 12)
    table = _table(donors, _donor("a"), _donor("d"), _donor("c"), _donor("b", domain="new"))

    with pytest.raises(InputError) as caught:
        prepare_dataset(table, cache, prune=True)

    lines = str(caught.value).splitlines()
    assert lines[0] == "cases.tsv has 2 bad rows, nothing was prepared:"
    assert lines[1] == "line 3, lesions: no file d.nii.gz"
    assert lines[2].startswith("line 4, lesions: c.nii.gz: The lesion mask is not a NIfTI file")
    assert (cache / INDEX).read_bytes() == before
    assert _folders(cache) == _known_folders(cache)


def test_a_case_that_cannot_be_preprocessed_does_not_stop_the_others(
    donors: Path, cache: Path
) -> None:
    """One bad scan of a hundred, found at night. What was made of it before goes too."""
    plain_image(donors / "t1w.nii.gz", centred_affine(), data=np.ones(SHAPE, dtype=np.int16))
    plain_image(donors / "flair.nii.gz", centred_affine())
    a = {"name": "a", "subject": "s1", "t1w": "t1w.nii.gz", "flair": "flair.nii.gz"}
    _write_mask(donors / "c.nii.gz", 12)

    with pytest.raises(InputError) as caught:
        prepare_dataset(_table(donors, a, _donor("b"), _donor("c")), cache)

    assert "1 of 2 cases could not be prepared" in str(caught.value)
    assert "line 2, a: The T1w is empty" in str(caught.value)
    assert [entry.name for entry in read_index(cache)] == ["b", "c"]
    assert _folders(cache) == _known_folders(cache)


def test_two_processes_do_not_fill_one_cache(donors: Path, tmp_path: Path) -> None:
    """The later index would forget the other's cases."""
    with locked(tmp_path / "cache"), pytest.raises(RunBusy, match=r"cache .* another process"):
        prepare_dataset(donors, tmp_path / "cache")


PREPARE = """
import sys
from pathlib import Path
from dlb_core.training.prepare import prepare_dataset
prepare_dataset(Path(sys.argv[1]), Path(sys.argv[2]))
"""
REWRITE = """
import itertools, sys
from pathlib import Path
import numpy as np
from dlb_core.training.cache import IMAGE, LESIONS, CaseEntry, write_case
for n in itertools.count(1):
    arrays = {name: np.full((40, 40, 40), n % 251, np.uint8) for name in (IMAGE, LESIONS)}
    entry = CaseEntry(name="a", subject="1", arrays=list(arrays))
    write_case(Path(sys.argv[1]), entry, arrays)
"""


def _kill_when(done: Callable[[], bool], script: str, *arguments: Path) -> None:
    """Run a script and end it with SIGKILL as soon as `done`."""
    child = subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)])
    deadline = time.monotonic() + 240
    while not done() and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.005)
    assert child.poll() is None, "it ended by itself"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()


def test_a_killed_preparation_leaves_whole_cases_and_goes_on(
    donors: Path, cache: Path, tmp_path: Path
) -> None:
    """kill -9 in the middle, then once more: the same cache, and no litter."""
    names = "abcde"
    for n, name in enumerate(names):
        _write_mask(donors / f"{name}.nii.gz", 6 + n)
    _table(donors, *(_donor(name) for name in names))
    undisturbed = tmp_path / "undisturbed"

    _kill_when(lambda: len(read_index(cache)) > 2, PREPARE, donors, cache)
    after_kill = _arrays(cache)
    plan = prepare_dataset(donors, cache)
    prepare_dataset(donors, undisturbed)

    expected = _arrays(undisturbed)
    assert 2 < len(after_kill) < len(names)
    assert after_kill.items() <= expected.items()
    assert sorted([*after_kill, *(task.row.name for task in plan.tasks)]) == list(names)
    assert _arrays(cache) == expected
    assert _folders(cache) == _known_folders(cache)


def _differs(read: Callable[[], bytes], before: bytes) -> bool:
    return read() != before


def test_a_case_killed_while_replaced_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    """New images with old lesions would look like any other case."""

    def index() -> bytes:
        path = tmp_path / INDEX
        return path.read_bytes() if path.exists() else b""

    for _ in range(3):
        before = index()
        _kill_when(partial(_differs, index, before), REWRITE, tmp_path)

        (case,) = open_cache(tmp_path)
        assert case.image is not None
        assert case.lesions is not None
        assert np.array_equal(case.image, case.lesions)
        assert len(np.unique(case.image)) == 1
