"""Delete what corrections that were killed left beside jobs' results."""

from dlb_core.jobs.layout import DataFolder
from dlb_core.versions import remove_drafts


def sweep_drafts(data: DataFolder, *, older_than_s: float) -> int:
    """Delete drafts of versions that nobody writes any more; returns how many.

    Parameters
    ----------
    data : DataFolder
    older_than_s : float
        Longer than a correction takes.
    """
    results = data.jobs.glob("*/attempts/*")
    return sum(remove_drafts(folder, older_than_s=older_than_s) for folder in results)
