"""Delete what comparisons left that nobody will ask for: after crashes, and after their removal.

A row is there before its folder, and goes before it: a folder without a row is nobody's. It may
still be written to for a while, by a worker that has yet to hear of the removal.
"""

from pathlib import Path
from uuid import UUID

from dlb_core.contracts import ENDED_COMPARISONS, ComparisonState
from dlb_core.errors import JobNotFound
from dlb_core.jobs.comparisons.dispatcher import attempt_folder, comparisons_folder
from dlb_core.jobs.comparisons.store import ComparisonStore
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.leftovers import old_places


def sweep_comparisons(folder: DataFolder, store: ComparisonStore, *, older_than_s: float) -> int:
    """Remove folders without a row, and what attempts left that came to nothing.

    Folders with anything young in them are left alone.

    Returns
    -------
    int
        Number of folders removed.

    Raises
    ------
    StoreUnavailable, BucketUnavailable
    """
    old = old_places(folder, comparisons_folder(folder), older_than_s=older_than_s)
    abandoned = [path for place in old for path in _abandoned(place, folder, store)]
    for path in abandoned:
        folder.remove(path)
    return len(abandoned)


def _abandoned(place: Path, folder: DataFolder, store: ComparisonStore) -> list[Path]:
    """What of a comparison's folder nobody will ask for."""
    try:
        record = store.get(UUID(place.name), sees=None)
    except (ValueError, JobNotFound):
        return [place]
    if record.state not in ENDED_COMPARISONS:
        return []
    published = attempt_folder(folder, record.id, record.fence)
    has_results = record.state is ComparisonState.SUCCESSFUL
    attempts = [place / name for name in folder.children(place)]
    return [path for path in attempts if not (has_results and path == published)]
