"""Where versions of a case lie: the networks' own result, and what readers made of it.

<results>/                    version 1, as segmented
<results>/corrections/<n>/    version n, from 2 on: as complete a folder of results
"""

from pathlib import Path

CORRECTIONS = "corrections"
FIRST = 1
MOST_VERSIONS = 50


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
