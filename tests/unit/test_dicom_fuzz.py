"""DICOM headers and archives altered at random: whatever comes, only our own errors leave."""

import io
import os
import zipfile
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from dicom_kit import flair, t1w
from hypothesis import given, settings
from hypothesis import strategies as st

from dlb_core.dicom.archive import ArchiveLimits, unpack
from dlb_core.dicom.choose import choose
from dlb_core.dicom.geometry import stack
from dlb_core.dicom.headers import read_headers
from dlb_core.dicom.series import group
from dlb_core.errors import DlbError

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "40"))


def saved(image: object) -> bytes:
    """A file's bytes."""
    buffer = io.BytesIO()
    image.save_as(buffer, enforce_file_format=True)  # type: ignore[attr-defined]
    return buffer.getvalue()


SOUND = [saved(image) for image in (*t1w()[:2], *flair()[:2])]
HEADER = len(SOUND[0]) - 1200
ARCHIVE = io.BytesIO()
with zipfile.ZipFile(ARCHIVE, "w", zipfile.ZIP_DEFLATED) as opened:
    for number, content in enumerate(SOUND):
        opened.writestr(f"{number}", content)
ZIPPED = ARCHIVE.getvalue()
CHANGES = st.lists(st.tuples(st.integers(132, HEADER), st.integers(0, 255)), min_size=1, max_size=6)


def altered(content: bytes, changes: list[tuple[int, int]]) -> bytes:
    """With other bytes in some places."""
    made = bytearray(content)
    for place, value in changes:
        made[place % len(made)] = value
    return bytes(made)


@pytest.mark.filterwarnings("ignore")  # tests make errors of warnings that the module silences
@settings(max_examples=EXAMPLES, deadline=None)
@given(changes=CHANGES, which=st.integers(0, len(SOUND) - 1), end=st.integers(0, 4000))
def test_headers_altered_at_random_are_read_or_refused(
    changes: list[tuple[int, int]], which: int, end: int
) -> None:
    """A header's lengths and types are whatever its sender wrote."""
    with TemporaryDirectory() as folder:
        paths = []
        for number, content in enumerate(SOUND):
            paths.append(Path(folder) / str(number))
            made = altered(content, changes) if number == which else content
            paths[-1].write_bytes(made[: len(made) - end] if number == which else made)
        try:
            found = group(read_headers(paths).instances)
            for one in found:
                one.describe()
            chosen = choose({None: found}, {"T1w": 2})
            stack(chosen.flair.instances, role="FLAIR")
        except DlbError as error:
            assert "Doe" not in str(error)  # noqa: PT017  # other errors are what is looked for


@settings(max_examples=EXAMPLES, deadline=None)
@given(changes=st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=8))
def test_archives_altered_at_random_are_unpacked_or_refused(
    changes: list[tuple[int, int]],
) -> None:
    """Nothing lands outside the folder, nor more than was allowed."""
    with TemporaryDirectory() as parent:
        folder, path = Path(parent) / "to", Path(parent) / "a.zip"
        folder.mkdir()
        path.write_bytes(altered(ZIPPED, changes))
        with suppress(DlbError):
            unpack(path, folder, name="study", limits=ArchiveLimits(max_bytes=20_000))
        assert sorted(entry.name for entry in Path(parent).iterdir()) == ["a.zip", "to"]
        assert sum(entry.stat().st_size for entry in folder.iterdir()) <= 20_000
