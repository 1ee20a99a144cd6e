"""A wall clock that can be set, in front of real processes (`clock.c`, preloaded).

Only the time of day moves, as when NTP or an operator sets a machine's clock; what measures
durations, and the times of files on the disk, stay true. Debian's libfaketime 0.9.10 was tried
first: once its clock has jumped, Python's `time.sleep` fails with EINVAL, as on no real machine.
"""

import shutil
import struct
import subprocess
from pathlib import Path

NEEDS_COMPILER = "NO C COMPILER (cc): the clock was not set here"
_SOURCE = Path(__file__).with_name("clock.c")


class Clock:
    """The clock of all processes that are started with `variables`.

    Parameters
    ----------
    folder : Path
        For the library, and the file in which the offset stands.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._library, self._file = folder / "clock.so", folder / "ahead"
        flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
        subprocess.run(["cc", *flags, "-o", self._library, _SOURCE], check=True)
        self._file.write_bytes(struct.pack("l", 0))

    @property
    def variables(self) -> dict[str, str]:
        """Environment of processes that go by this clock."""
        return {"LD_PRELOAD": str(self._library), "DLB_TEST_CLOCK": str(self._file)}

    def set_ahead(self, seconds: int) -> None:
        """Let the clock be so far ahead of the machine's, now."""
        with self._file.open("r+b") as file:
            file.write(struct.pack("l", seconds))


def find_clock(folder: Path) -> Clock | None:
    """A clock, where one can be built."""
    return None if shutil.which("cc") is None else Clock(folder)
