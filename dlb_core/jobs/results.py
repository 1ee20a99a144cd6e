"""A successful job's results and their versions, wherever they are kept."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dlb_core import artefacts
from dlb_core.contracts import ArtefactEntry
from dlb_core.corrections import RECORD, VersionRecord
from dlb_core.errors import CorrectionsExist
from dlb_core.jobs.layout import DataFolder
from dlb_core.versions import CORRECTIONS, FIRST, version_folder

FILES = "files"
"""Beside the versions in a bucket: their files, named by content."""


def versions_of(folder: DataFolder, results: Path) -> tuple[VersionRecord, ...]:
    """What readers made of a job's results, oldest first.

    Parameters
    ----------
    folder : DataFolder
    results : Path
        Place of version 1.

    Raises
    ------
    BucketUnavailable
    """
    numbers = sorted(
        int(name) for name in folder.children(results / CORRECTIONS) if name.isdecimal()
    )
    return tuple(
        VersionRecord.model_validate_json(folder.read(version_folder(results, number) / RECORD))
        for number in numbers
    )


def file_of(folder: DataFolder, results: Path, version: int, entry: ArtefactEntry) -> Path:
    """Where a version's file is kept."""
    if version != FIRST and not folder.is_shared:
        return results / CORRECTIONS / FILES / entry.sha256
    return version_folder(results, version) / entry.name


def bring_results(
    folder: DataFolder, results: Path, entries: Sequence[ArtefactEntry], scratch: Path
) -> Path:
    """Folder on this machine with a job's own results; `scratch` may be used for it.

    Raises
    ------
    BucketUnavailable, FileAltered
    """
    if folder.is_shared:
        return results
    return _bring(folder, results, FIRST, entries, scratch)


def bring_newest(
    folder: DataFolder, results: Path, names: Sequence[str], scratch: Path
) -> list[Path]:
    """Files on this machine of the newest version of a job's results.

    Raises
    ------
    FileNotFoundError, BucketUnavailable, FileAltered
    """
    made = versions_of(folder, results)
    version = made[-1].correction.version if made else FIRST
    digests = {entry.name: entry for entry in made[-1].artefacts} if made else {}
    paths = []
    for name in names:
        entry = digests.get(name)
        kept = results / name if entry is None else file_of(folder, results, version, entry)
        digest = "" if entry is None else entry.sha256
        paths.append(folder.bring_file(kept, scratch / name, digest))
    return paths


def bring_bench(
    folder: DataFolder, results: Path, first: Sequence[ArtefactEntry], scratch: Path
) -> Path:
    """Folder on this machine that `correct_case` can add a version to.

    Parameters
    ----------
    folder : DataFolder
    results : Path
        Place of version 1.
    first : sequence of ArtefactEntry
        Its files.
    scratch : Path
        Folder that need not exist.

    Raises
    ------
    BucketUnavailable, FileAltered
    """
    if folder.is_shared:
        return results
    made = versions_of(folder, results)
    version = made[-1].correction.version if made else FIRST
    entries = made[-1].artefacts if made else first
    target = _bring(folder, results, version, entries, version_folder(scratch, version))
    with suppress(FileNotFoundError):
        kept = artefacts.DICOM_KEPT
        folder.bring_file(results / kept, target / kept, "")
    return scratch


def keep_version(folder: DataFolder, results: Path, bench: Path, made: VersionRecord) -> None:
    """Keep a version that was made on a bench; it is there at once, or not at all.

    Raises
    ------
    CorrectionsExist
        Another one was made meanwhile.
    BucketUnavailable
    """
    version = made.correction.version
    files = {
        version_folder(bench, version) / entry.name: file_of(folder, results, version, entry)
        for entry in made.artefacts
    }
    mark = version_folder(results, version) / RECORD
    if not folder.publish(files, mark, made.model_dump_json().encode()):
        raise CorrectionsExist(
            f"version {version} was made meanwhile: look at it, and send the mask again"
        )


def _bring(
    folder: DataFolder,
    results: Path,
    version: int,
    entries: Sequence[ArtefactEntry],
    scratch: Path,
) -> Path:
    """Download a version's files."""
    scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
    for entry in entries:
        kept = file_of(folder, results, version, entry)
        folder.bring_file(kept, scratch / entry.name, entry.sha256)
    return scratch
