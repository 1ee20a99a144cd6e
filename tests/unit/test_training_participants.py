"""A data set's table: what is read, and what is refused before any work."""

from pathlib import Path

import numpy as np
import pytest

from dlb_core.contracts import InputState
from dlb_core.errors import InputError
from dlb_core.training.participants import Row, read_table
from dlb_core.training.raters import Fusion
from dlb_core.training.sources import check_sources, describe_sources
from dlb_core.volume import Affine
from tests.unit.images import SHAPE, centred_affine, oblique_affine, plain_image, rigid

COLUMNS = ("name", "participant_id", "input_state", "t1w", "flair", "lesions", "fusion", "tissues")


def _table(folder: Path, *rows: dict[str, str]) -> Path:
    lines = ["\t".join(row.get(column, "") for column in COLUMNS) for row in rows]
    (folder / "participants.tsv").write_text("\n".join(["\t".join(COLUMNS), *lines]) + "\n")
    return folder


def _faults(folder: Path, row: dict[str, str]) -> str:
    """What is wrong with the files of a row that is well written."""
    table = read_table(_table(folder, {"participant_id": "sub-1"} | row))
    assert not table.faults
    return "\n".join(str(fault) for fault in check_sources(table.rows[0]))


def _mask(path: Path, affine: Affine | None = None, *, values: tuple[int, ...] = (1,)) -> Path:
    data = np.zeros(SHAPE, dtype=np.uint8)
    for n, value in enumerate(values):
        data[5 + 3 * n : 8 + 3 * n, 10:14, 10:14] = value
    return plain_image(path, affine, data=data)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with a usable T1w and FLAIR on two grids, and a mask on each."""
    plain_image(tmp_path / "t1w.nii.gz", oblique_affine())
    plain_image(tmp_path / "flair.nii.gz", centred_affine())
    _mask(tmp_path / "on-t1w.nii.gz", oblique_affine())
    _mask(tmp_path / "on-flair.nii.gz", centred_affine())
    return tmp_path


PAIR = {"t1w": "t1w.nii.gz", "flair": "flair.nii.gz"}


def test_a_bids_table_needs_only_what_it_has_to_say(tmp_path: Path) -> None:
    """Other tools' columns stand beside ours; `n/a` is BIDS for nothing."""
    for name in ("t.nii", "f.nii", "r1.nii", "r2.nii", "r3.nii"):
        (tmp_path / name).touch()
    (tmp_path / "participants.tsv").write_bytes(
        b"\xef\xbb\xbfparticipant_id\tsession_id\tage\tT1w\tFLAIR\tlesions\tfusion\n"
        b"sub-01\tses-2\t33\tt.nii\tf.nii\tr1.nii; r2.nii,r3.nii\tstaple\n"
        b"\n"
        b"sub-02\tn/a\tn/a\tt.nii\tf.nii\tn/a\n"
    )

    table = read_table(tmp_path)

    assert table.ignored == ["age"]
    assert not table.faults
    assert table.rows == [
        Row(
            line=2,
            name="sub-01_ses-2",
            subject="sub-01",
            session="ses-2",
            domain="",
            input_state=InputState.RAW,
            fusion=Fusion.STAPLE,
            t1w=tmp_path / "t.nii",
            flair=tmp_path / "f.nii",
            lesions=(tmp_path / "r1.nii", tmp_path / "r2.nii", tmp_path / "r3.nii"),
            tissues=None,
        ),
        Row(
            line=4,
            name="sub-02",
            subject="sub-02",
            session="",
            domain="",
            input_state=InputState.RAW,
            fusion=Fusion.MAJORITY,
            t1w=tmp_path / "t.nii",
            flair=tmp_path / "f.nii",
            lesions=(),
            tissues=None,
        ),
    ]
    assert [row.arrays for row in table.rows] == [["image", "lesions"], ["image"]]


def test_every_bad_cell_is_reported_with_its_line_and_column(tmp_path: Path) -> None:
    """Mending a table one error at a time wears people out."""
    (tmp_path / "x").touch()
    table = read_table(
        _table(
            tmp_path,
            {"participant_id": "a", "t1w": "not-there", "flair": "x", "input_state": "boiled"},
            {"participant_id": "b", "t1w": "x"},
            {"participant_id": "c"},
            {"participant_id": "d/e", "lesions": "x;gone", "fusion": "vote"},
            {"participant_id": "f", "lesions": "x", "tissues": "x"},
            {"lesions": "x"},
            {"participant_id": "g", "lesions": "x"},
            {"participant_id": "g", "lesions": "x"},
        )
    )

    assert {(fault.line, fault.column) for fault in table.faults} == {
        (2, "t1w"),
        (2, "input_state"),
        (3, "flair"),
        (4, "row"),
        (5, "participant_id"),
        (5, "lesions"),
        (5, "fusion"),
        (6, "tissues"),
        (7, "participant_id"),
        (9, "name"),
    }
    assert [row.line for row in table.rows] == [8]
    reasons = {(fault.line, fault.column): fault.reason for fault in table.faults}
    assert reasons[5, "lesions"] == "no file gone"
    assert "line 8" in reasons[9, "name"]


def test_a_row_longer_than_the_header_is_a_fault(tmp_path: Path) -> None:
    """A stray tab shifts every cell after it."""
    (tmp_path / "x").touch()
    (tmp_path / "cases.tsv").write_text("subject\tlesions\na\t\tx\nb\tx\n")

    table = read_table(tmp_path)

    assert [str(fault) for fault in table.faults] == [
        "line 2, row: the row has 3 cells, the header 2"
    ]
    assert [row.name for row in table.rows] == ["b"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no participants.tsv or cases.tsv"),
        ({"cases.tsv": b"subject\tlesions\n", "participants.tsv": b"subject\tlesions\n"}, "both"),
        ({"cases.tsv": b""}, "needs the column participant_id"),
        ({"cases.tsv": b"subject,lesions\n"}, "separated by tabs"),
        ({"cases.tsv": b"subject\tdomain\n"}, "lesions or tissues"),
        ({"cases.tsv": b"subject\tparticipant_id\tlesions\n"}, "participant_id twice"),
        ({"cases.tsv": b"subject\tlesions\nJos\xe9\tx\n"}, "UTF-8"),
    ],
)
def test_a_table_that_is_none_says_so(
    tmp_path: Path, files: dict[str, bytes], message: str
) -> None:
    """Else every row would seem at fault."""
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)

    with pytest.raises(InputError, match=message):
        read_table(tmp_path)


@pytest.mark.parametrize("lesions", ["on-flair.nii.gz", "on-t1w.nii.gz", ""])
def test_usable_files_pass(images: Path, lesions: str) -> None:
    """A mask may lie on either image's grid; without one the case is unlabelled."""
    assert _faults(images, PAIR | {"lesions": lesions}) == ""


def test_an_empty_mask_is_a_case_without_lesions(images: Path) -> None:
    """Healthy controls teach a network what is no lesion."""
    _mask(images / "empty.nii.gz", centred_affine(), values=())

    assert _faults(images, PAIR | {"lesions": "empty.nii.gz"}) == ""


def test_images_are_checked_as_the_service_checks_them(images: Path) -> None:
    """Found in seconds, not after an hour of preprocessing; both are named."""
    (images / "t1w.nii.gz").write_bytes(b"no image")
    plain_image(images / "flair.nii.gz", centred_affine(voxel_mm=60))

    text = _faults(images, PAIR)

    assert "line 2, t1w: The T1w is not a NIfTI file" in text
    assert "line 2, flair: The FLAIR's voxels are 60 x 60 x 60 mm" in text


def test_two_images_of_different_places_are_refused(images: Path) -> None:
    """Another patient's FLAIR, or another table position's."""
    plain_image(images / "flair.nii.gz", rigid(shift_mm=(0, 0, 400)) @ centred_affine())

    assert "share only 0%" in _faults(images, PAIR)


def test_a_mask_on_neither_images_grid_is_refused(images: Path) -> None:
    """Nothing says in whose space it lies."""
    _mask(images / "astray.nii.gz", rigid(shift_mm=(3, 0, 0)) @ centred_affine())

    assert "neither on the FLAIR's grid" in _faults(images, PAIR | {"lesions": "astray.nii.gz"})


def test_raters_on_different_grids_are_named(images: Path) -> None:
    """Fusing them voxel by voxel would mix places."""
    text = _faults(images, PAIR | {"lesions": "on-flair.nii.gz;on-t1w.nii.gz;on-flair.nii.gz"})

    assert "different grids" in text
    assert "rater 2 (on-t1w.nii.gz) [24 x 30 x 26 from" in text


@pytest.mark.parametrize(
    ("values", "dtype", "listed"),
    [((1, 2), np.uint8, "0, 1, 2"), ((1,), np.float32, "0, 0.25")],
)
def test_a_label_image_or_a_soft_mask_is_no_mask(
    images: Path, values: tuple[int, ...], dtype: type, listed: str
) -> None:
    """Which label is meant, and from what threshold on, is the user's to say."""
    path = _mask(images / "labels.nii.gz", centred_affine(), values=values)
    if dtype is np.float32:
        data = np.zeros(SHAPE, dtype=np.float32)
        data[5:8, 10:14, 10:14] = 0.25
        plain_image(path, centred_affine(), data=data)

    text = _faults(images, PAIR | {"lesions": "labels.nii.gz"})

    assert f"labels.nii.gz is no mask but holds the values {listed}:" in text


@pytest.mark.parametrize(
    ("values", "message"), [((1, 2), "lacks"), ((1, 2, 3, 7), "from 0 to 7"), ((1, 2, 3), "")]
)
def test_tissue_labels_are_those_we_know(
    tmp_path: Path, values: tuple[int, ...], message: str
) -> None:
    """Another tool's numbering would make fluid of white matter."""
    _mask(tmp_path / "tissues.nii.gz", values=values)

    text = _faults(tmp_path, {"tissues": "tissues.nii.gz"})

    assert message in text
    assert bool(message) == bool(text)


def test_what_decides_the_arrays_is_described(images: Path) -> None:
    """No more: a renamed file or another domain label is no reason to prepare anew."""
    masks = {"lesions": "on-flair.nii.gz;on-flair.nii.gz"}
    before = describe_sources(
        read_table(_table(images, {"participant_id": "a"} | PAIR | masks)).rows[0]
    )
    (images / "flair.nii.gz").rename(images / "renamed.nii.gz")
    renamed = {"participant_id": "b", "flair": "renamed.nii.gz", "t1w": "t1w.nii.gz"} | masks
    after = describe_sources(read_table(_table(images, renamed)).rows[0])
    changed = describe_sources(
        read_table(
            _table(
                images, renamed | {"fusion": "staple", "lesions": "on-flair.nii.gz;on-t1w.nii.gz"}
            )
        ).rows[0]
    )

    assert before == after
    assert before.keys() == {
        "preprocessing",
        "input_state",
        "fusion",
        "t1w",
        "flair",
        "lesions 1",
        "lesions 2",
    }
    assert {key for key in before if before[key] != changed[key]} == {"fusion", "lesions 2"}
