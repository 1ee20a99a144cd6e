"""Notice weights that were altered after they were installed."""

import threading
from pathlib import Path
from typing import Any

from dlb_core.artefacts import sha256_of
from dlb_core.errors import CheckpointCorrupt
from service.bundles import Bundles

ADVICE = "install the bundle again; until then every job would fail"


class WeightsWatch:
    """Compares a bundle's files with its manifest.

    A file is read when it is first looked at, and when its size, time or place on the disk is
    another; so that asking again and again costs nothing. Safe to share between threads.
    """

    def __init__(self, bundles: Bundles) -> None:
        self._bundles = bundles
        self._sound: dict[str, tuple[int, ...]] = {}
        self._lock = threading.Lock()

    def check(self) -> int:
        """Look at every file; returns how many there are.

        Raises
        ------
        CheckpointCorrupt
            One is missing, or is not what the manifest says.
        """
        entries = {entry["file"]: entry for entry in self._entries()}
        with self._lock:
            for name, entry in entries.items():
                self._check_one(name, entry)
        return len(entries)

    def _entries(self) -> list[dict[str, Any]]:
        manifest = self._bundles.manifest()
        canary = manifest.get("canary")
        return [*manifest.get("networks", ()), *([canary] if canary else [])]

    def _check_one(self, name: str, entry: dict[str, Any]) -> None:
        # A manifest must not lead out of its folder.
        path = self._bundles.folder / Path(name).name
        try:
            seen = path.stat()
        except OSError as error:
            raise CheckpointCorrupt(f"{path.name} is missing from the weights: {ADVICE}") from error
        identity = (seen.st_size, seen.st_mtime_ns, seen.st_ino)
        key = f"{name} {entry['sha256']}"
        if self._sound.get(key) == identity:
            return
        if seen.st_size != entry["size_bytes"] or sha256_of(path) != entry["sha256"]:
            self._sound.pop(key, None)
            raise CheckpointCorrupt(f"{path.name} of the weights was altered: {ADVICE}")
        self._sound[key] = identity
