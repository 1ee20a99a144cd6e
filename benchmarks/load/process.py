"""What a process uses: memory, now and at most, and processor time."""

import os
import re
from pathlib import Path

MIB = 1024 * 1024
RESET_PEAK = "5"


class Usage:
    """What the kernel counts of one process.

    Parameters
    ----------
    pid : int
    """

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")

    def forget_peak(self) -> None:
        """Let the peak begin anew."""
        (self._folder / "clear_refs").write_text(RESET_PEAK)

    @property
    def peak_mib(self) -> float:
        """Most resident memory that was held since."""
        return self._read("VmHWM")

    @property
    def processor_s(self) -> float:
        """Processor time used since its start."""
        # The name, in brackets, may hold anything.
        fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        user, system = int(fields[11]), int(fields[12])
        return (user + system) / os.sysconf("SC_CLK_TCK")

    def _read(self, name: str) -> float:
        found = re.search(rf"{name}:\s+(\d+) kB", (self._folder / "status").read_text())
        assert found is not None
        return int(found[1]) * 1024 / MIB
