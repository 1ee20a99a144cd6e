"""Fill a training cache with simulated subjects of a domain."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from dlb_core.synthesis.domains import Domain
from dlb_core.synthesis.simulation import simulate_case
from dlb_core.training.cache import IMAGE, LESIONS, CaseEntry, filling, read_index, write_case


def simulate_dataset(
    domain: Domain,
    seeds: Iterable[int],
    cache: Path,
    *,
    coarsening: int = 1,
    on_case: Callable[[str, int, int], None] = lambda *_: None,
) -> int:
    """Simulate one labelled case a seed; cases that the cache already has are left.

    Parameters
    ----------
    domain : Domain
    seeds : iterable of int
        One subject each.
    cache : Path
        Made if missing; see `dlb_core.training.cache`.
    coarsening : int
        See `simulate_case`.
    on_case : callable
        Told the case's name, how many are done, and of how many.

    Returns
    -------
    int
        How many cases the cache gained.

    Raises
    ------
    RunBusy
        Another process fills this cache.
    """
    settings = hashlib.sha256(f"{domain!r} {coarsening}".encode()).hexdigest()
    with filling(cache):
        present = {entry.name: entry.made_from for entry in read_index(cache)}
        wanted = [_entry(domain, seed, settings) for seed in seeds]
        missing = [(seed, e) for seed, e in wanted if present.get(e.name) != e.made_from]
        for n, (seed, entry) in enumerate(missing):
            on_case(entry.name, n, len(missing))
            case = simulate_case(domain, seed, coarsening=coarsening)
            write_case(cache, entry, {IMAGE: case.image, LESIONS: case.lesions})
    return len(missing)


def _entry(domain: Domain, seed: int, settings: str) -> tuple[int, CaseEntry]:
    name = f"{domain.name}-{seed:04d}"
    return seed, CaseEntry(
        name=name,
        subject=name,
        domain=domain.name,
        arrays=[IMAGE, LESIONS],
        made_from={"domain": settings, "seed": str(seed)},
    )
