"""Tell work that ran out of memory from work that failed or was killed for another reason.

The kernel kills with SIGKILL and tells the victim nothing, but it counts: in the control group
of the container, and for the whole machine.
"""

import re
from pathlib import Path

_GROUP_V1 = re.compile(r"^\d+:(?:\S+,)?memory(?:,\S+)?:(?P<path>/.*)$", re.MULTILINE)
_GROUP_V2 = re.compile(r"^0::(?P<path>/.*)$", re.MULTILINE)
_KILLS = re.compile(r"^oom_kill (?P<count>\d+)$", re.MULTILINE)
_RESIDENT = re.compile(r"^VmRSS:\s+(?P<kib>\d+) kB$", re.MULTILINE)

ADVICE = "give the worker about 4 GB for each case"
ALLOCATION_FAILED = ("can't allocate memory", "out of memory")
"""How PyTorch says so, in plain RuntimeErrors."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: in Python, in PyTorch on a CPU, or on a GPU."""
    if isinstance(error, MemoryError) or is_out_of_gpu_memory(error):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in ALLOCATION_FAILED)


def is_out_of_gpu_memory(error: Exception) -> bool:
    """Whether a card's memory ran out; told by name, since PyTorch need not be loaded here."""
    return type(error).__name__ == "OutOfMemoryError"


class OomCounters:
    """What the kernel's counters of kills for want of memory said when this was made.

    Parameters
    ----------
    root : Path
        Of the file system; tests have another.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._before = self._read()

    @property
    def are_kept(self) -> bool:
        """Whether this machine counts at all."""
        return bool(self._before)

    def have_grown(self) -> bool:
        """Whether something was killed for want of memory since."""
        now = self._read()
        return any(now.get(name, 0) > count for name, count in self._before.items())

    def _read(self) -> dict[str, int]:
        """Each counter that there is, by its file."""
        counts = {}
        for path in self._files():
            found = _KILLS.search(_text_of(path))
            if found is not None:
                counts[str(path)] = int(found["count"])
        return counts

    def _files(self) -> list[Path]:
        """Files that may count: ours by its group's name, and as a container sees it."""
        groups = _text_of(self._root / "proc/self/cgroup")
        base = self._root / "sys/fs/cgroup"
        files = [self._root / "proc/vmstat"]
        for pattern, folder, name in (
            (_GROUP_V1, base / "memory", "memory.oom_control"),
            (_GROUP_V2, base, "memory.events"),
        ):
            files.append(folder / name)
            found = pattern.search(groups)
            if found is not None:
                files.append(folder / found["path"].lstrip("/") / name)
        return files


def resident_mb(pid: int, root: Path = Path("/")) -> int | None:
    """Memory that a process holds, in MiB; None where that cannot be read."""
    found = _RESIDENT.search(_text_of(root / f"proc/{pid}/status"))
    return None if found is None else int(found["kib"]) // 1024


def _text_of(path: Path) -> str:
    """Content of a file, empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
