"""Where versions of a case lie: the networks' own result, and what readers made of it.

<results>/                    version 1, as segmented
<results>/corrections/<n>/    version n, from 2 on: as complete a folder of results
<results>/corrections/.<n>-…  a version that is being written, or that a killed process left
"""

import shutil
import time
from pathlib import Path
from uuid import uuid4

CORRECTIONS = "corrections"
FIRST = 1
MOST_VERSIONS = 50
ABANDONED_AFTER_S = 3600.0
"""Nothing is written into a draft for so long while somebody works on it."""


def version_folder(results: Path, version: int) -> Path:
    """Folder of one version.

    Parameters
    ----------
    results : Path
        Folder of version 1.
    version : int
    """
    return results if version == FIRST else results / CORRECTIONS / str(version)


def versions_in(results: Path) -> list[int]:
    """Versions that a folder of results holds, oldest first; the first is always among them."""
    folder = results / CORRECTIONS
    found = folder.iterdir() if folder.is_dir() else ()
    return [FIRST, *sorted(int(path.name) for path in found if path.name.isdecimal())]


def draft_of(target: Path) -> Path:
    """A new name beside a version's, to write it under until it is whole."""
    return target.with_name(f".{target.name}-{uuid4().hex}")


def remove_drafts(results: Path, *, older_than_s: float = ABANDONED_AFTER_S) -> int:
    """Delete drafts that nobody writes any more; returns how many."""
    latest = time.time() - older_than_s
    removed = 0
    for draft in (results / CORRECTIONS).glob(".*-*"):
        try:
            # It grows younger with each file that is begun in it.
            abandoned = draft.stat().st_mtime < latest
        except FileNotFoundError:
            continue
        if abandoned:
            shutil.rmtree(draft, ignore_errors=True)
            removed += 1
    return removed
