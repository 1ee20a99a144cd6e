"""A disk of its own that can really be filled."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

NEEDS_ROOT = "MOUNTING NEEDS ROOT: the full disk was not tested here"


@contextlib.contextmanager
def mounted(folder: Path, *, megabytes: int, files: int = 10_000) -> Iterator[bool]:
    """Put a small disk in a folder's place, for so many files; yields whether that was allowed."""
    folder.mkdir()
    size = f"size={megabytes}m,nr_inodes={files}"
    mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)]
    allowed = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        yield allowed
    finally:
        if allowed:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path: Path, *, leaving: int) -> None:
    """Fill a disk with one file, but for some bytes."""
    with path.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass
        file.truncate(os.fstat(file.fileno()).st_size - leaving)
