"""Room on the disk: uploads under way share it, and some of it is left for running jobs."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dlb_core.errors import DiskFull

LOOK_EVERY_BYTES = 8 * 1024 * 1024


def require_space(folder: Path, *, needed: int, spare: int) -> None:
    """Refuse an upload that would fill the disk.

    Raises
    ------
    DiskFull
        Fewer than `needed + spare` bytes are free.
    """
    if shutil.disk_usage(folder).free < needed + spare:
        raise DiskFull("the service's disk is nearly full: try again later, or tell its operator")


class UploadSpace:
    """What uploads under way have announced and not yet written counts as taken.

    Safe to share between threads.

    Parameters
    ----------
    folder : Path
        On the disk in question.
    spare : int
        Bytes that uploads leave free.
    """

    def __init__(self, folder: Path, *, spare: int) -> None:
        self._folder = folder
        self._spare = spare
        self.promised = 0
        """Bytes announced that have not come yet."""
        self._lock = threading.Lock()

    @contextmanager
    def reserve(self, announced: int) -> Iterator["Reservation"]:
        """Take room for one upload, until it has ended.

        Parameters
        ----------
        announced : int
            Bytes that will come; 0 where nobody has said.

        Raises
        ------
        DiskFull
        """
        with self._lock:
            needed = self.promised + announced
            require_space(self._folder, needed=needed, spare=self._spare)
            self.promised += announced
        reservation = Reservation(self, announced)
        try:
            yield reservation
        finally:
            self.settle(reservation.outstanding)

    def settle(self, written: int) -> None:
        """Bytes promised before are on the disk now, or will never come."""
        with self._lock:
            self.promised -= written

    def look(self) -> None:
        """Insist on the spare room.

        Raises
        ------
        DiskFull
        """
        require_space(self._folder, needed=0, spare=self._spare)


class Reservation:
    """One upload's share of the room."""

    def __init__(self, space: UploadSpace, announced: int) -> None:
        self._space = space
        self._unseen = 0
        self.outstanding = announced
        """Announced, and not yet come."""

    def take(self, count: int) -> None:
        """Note bytes that are about to be written; look at the disk now and then.

        Raises
        ------
        DiskFull
            The disk was filled by others, or by an upload that had not announced its length.
        """
        settled = min(count, self.outstanding)
        self.outstanding -= settled
        self._space.settle(settled)
        self._unseen += count
        if self._unseen >= LOOK_EVERY_BYTES:
            self._unseen = 0
            self._space.look()
