"""How much memory a process holds, and held at most."""

import re
from pathlib import Path

MIB = 1024 * 1024
RESET_PEAK = "5"


class Memory:
    """One process's resident memory, as the kernel counts it.

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
        """Most that was held since."""
        return self._read("VmHWM")

    @property
    def now_mib(self) -> float:
        """What is held."""
        return self._read("VmRSS")

    def _read(self, name: str) -> float:
        found = re.search(rf"{name}:\s+(\d+) kB", (self._folder / "status").read_text())
        assert found is not None
        return int(found[1]) * 1024 / MIB
