"""From a table of cases to a training cache."""

from pathlib import Path

import numpy as np
import pytest

from dlb_core.errors import InputError
from dlb_core.nifti import write_volume
from dlb_core.template import MNI_GRID, load_template
from dlb_core.training.cache import open_cache, read_index
from dlb_core.training.prepare import NATIVE_TO_TEMPLATE, TABLE, prepare_dataset, read_table
from dlb_core.volume import Volume

HEADER = "name\tsubject\tdomain\tinput_state\tt1w\tflair\tlesions\ttissues"


def _table(folder: Path, *rows: str) -> Path:
    (folder / TABLE).write_text("\n".join([HEADER, *rows]) + "\n")
    return folder


def test_a_donor_grows_to_the_templates_size(tmp_path: Path) -> None:
    """Masks of rigidly aligned heads are too small for the template by a known factor."""
    mask = np.zeros(MNI_GRID.shape, dtype=np.uint8)
    mask[80:100, 100:120, 80:100] = 1
    write_volume(tmp_path / "mask.nii.gz", Volume(mask, MNI_GRID.affine), dtype=np.uint8)
    _table(tmp_path, "d1\ts1\t\traw\t\t\tmask.nii.gz\t")

    added = prepare_dataset(tmp_path, tmp_path / "cache")

    (case,) = open_cache(tmp_path / "cache")
    assert added == 1
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
    _table(tmp_path, "a1\ts1\t\traw\t\t\t\tt.nii.gz")

    prepare_dataset(tmp_path, tmp_path / "cache")

    (case,) = open_cache(tmp_path / "cache")
    assert case.tissues is not None
    brain = case.tissues.astype(int).sum(0) > 127
    overlap = 2 * (brain & template.brain_mask).sum() / (brain.sum() + template.brain_mask.sum())
    assert overlap > 0.95
    white = case.tissues[2][template.white_matter > 0.95].mean() / 255
    assert white > 0.8


def test_what_the_cache_has_is_not_prepared_again(tmp_path: Path) -> None:
    """An interrupted preparation goes on where it was."""
    mask = np.zeros(MNI_GRID.shape, dtype=np.uint8)
    mask[90, 100:110, 90] = 1
    write_volume(tmp_path / "m.nii.gz", Volume(mask, MNI_GRID.affine), dtype=np.uint8)
    _table(tmp_path, "d1\ts1\t\traw\t\t\tm.nii.gz\t")
    prepare_dataset(tmp_path, tmp_path / "cache")
    _table(tmp_path, "d1\ts1\t\traw\t\t\tm.nii.gz\t", "d2\ts2\t\traw\t\t\tm.nii.gz\t")

    assert prepare_dataset(tmp_path, tmp_path / "cache") == 1
    assert [entry.name for entry in read_index(tmp_path / "cache")] == ["d1", "d2"]


def test_bad_rows_are_reported_together(tmp_path: Path) -> None:
    """Mending a table one error at a time wears people out."""
    (tmp_path / "x.nii.gz").touch()
    _table(
        tmp_path,
        "a\ts\t\traw\tnot-there.nii.gz\tx.nii.gz\tx.nii.gz\t",
        "b\ts\t\traw\tx.nii.gz\t\tx.nii.gz\t",
        "c\ts\t\traw\t\t\t\t",
        "d\ts\t\tboiled\t\t\tx.nii.gz\t",
        "e/f\ts\t\traw\t\t\tx.nii.gz\t",
        "g\ts\t\traw\t\t\tx.nii.gz\t",
        "g\ts\t\traw\t\t\tx.nii.gz\t",
    )

    with pytest.raises(InputError) as caught:
        read_table(tmp_path)

    text = str(caught.value)
    assert "6 bad rows" in text
    for line, reason in (
        (2, "no file for t1w"),
        (3, "come together"),
        (4, "neither"),
        (5, "input_state"),
        (6, "name"),
        (8, "twice"),
    ):
        assert f"line {line}: " in text
        assert reason in text


@pytest.mark.parametrize("text", [None, "name\tsubject\n"])
def test_a_table_that_is_none_says_so(tmp_path: Path, text: str | None) -> None:
    """Missing file, missing columns."""
    if text is not None:
        (tmp_path / TABLE).write_text(text)

    with pytest.raises(InputError, match=TABLE):
        read_table(tmp_path)
