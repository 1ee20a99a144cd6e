"""Votes that are taken up are this case's, or none."""

from pathlib import Path

import numpy as np
import pytest

from dlb_core.checkpoints import Bundle
from dlb_core.contracts import Device
from dlb_core.tiling import Location
from dlb_core.votes import KEEP_EVERY, VotesFile, identity_of
from dlb_core.voting import Ballot
from tests.unit.bundles import write_tiny_bundle

SHAPE = (4, 5, 6)
PLACE = Location((1, 1, 1), (2, 2, 2))


def cast(ballot: Ballot, number: int) -> None:
    """One network's votes."""
    probability = np.random.default_rng(number).random(PLACE.size, dtype=np.float32)
    ballot.add(PLACE, probability)


def test_a_count_that_goes_on_is_bit_for_bit_one_without_a_break(tmp_path: Path) -> None:
    """Sums of floats depend on their order: it must be the same."""
    whole, first, second = (Ballot(SHAPE, 0.5) for _ in range(3))
    for number in range(12):
        cast(whole, number)
    for number in range(KEEP_EVERY):
        cast(first, number)
    file = VotesFile(tmp_path / "votes.npz", "a")
    file.keep(first, KEEP_EVERY)

    done = file.restore(second)
    for number in range(done, 12):
        cast(second, number)

    assert done == KEEP_EVERY
    for name, counted in whole.parts().items():
        assert counted.tobytes() == second.parts()[name].tobytes()


def test_votes_are_written_every_few_networks_only(tmp_path: Path) -> None:
    """75 synced writes of 42 MB would cost more than they save."""
    file = VotesFile(tmp_path / "votes.npz", "a")
    ballot = Ballot(SHAPE, 0.5)

    file.keep(ballot, KEEP_EVERY - 1)
    assert not (tmp_path / "votes.npz").exists()
    file.keep(ballot, KEEP_EVERY)
    assert (tmp_path / "votes.npz").exists()


@pytest.mark.parametrize("spoil", ["other case", "cut off", "flipped bit", "other grid", "no file"])
def test_votes_of_another_case_or_damaged_ones_are_passed_over(tmp_path: Path, spoil: str) -> None:
    """A wrong vote would look like any other; starting anew costs minutes only."""
    path = tmp_path / "votes.npz"
    kept = Ballot((4, 5, 7) if spoil == "other grid" else SHAPE, 0.5)
    cast(kept, 1)
    VotesFile(path, "b" if spoil == "other case" else "a").keep(kept, KEEP_EVERY)
    content = path.read_bytes()
    if spoil == "cut off":
        path.write_bytes(content[:-100])
    elif spoil == "flipped bit":
        middle = content.index(kept.parts()["sum"].tobytes()) + 40
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif spoil == "no file":
        path.unlink()
    ballot = Ballot(SHAPE, 0.5)

    assert VotesFile(path, "a").restore(ballot) == 0
    assert not any(counted.any() for counted in ballot.parts().values())


def test_a_case_goes_on_where_votes_cannot_be_kept(tmp_path: Path) -> None:
    """A full disk must not end a case that might still have room for its results."""
    VotesFile(tmp_path / "none" / "votes" / "votes.npz", "a").keep(Ballot(SHAPE, 0.5), KEEP_EVERY)


def test_images_weights_and_the_way_of_computing_make_the_identity(tmp_path: Path) -> None:
    """Preprocessing runs again: were its result another, the old votes must not count."""
    bundle, other = (
        write_tiny_bundle(tmp_path / "a"),
        write_tiny_bundle(tmp_path / "b", threshold=0.4),
    )
    image = np.zeros((2, *SHAPE), dtype=np.float32)
    brain = np.zeros(SHAPE, dtype=bool)
    moved, larger = image.copy(), brain.copy()
    moved[0, 0, 0, 0] = 1e-7
    larger[0, 0, 0] = True

    def identity(*, of: Bundle = bundle, device: Device = Device.CPU, **arrays: np.ndarray) -> str:
        chosen = {"image": image, "brain_mask": brain} | arrays
        return identity_of(chosen["image"], chosen["brain_mask"], of, device)

    found = [
        identity(),
        identity(image=moved),
        identity(brain_mask=larger),
        identity(of=other),
        identity(device=Device.CUDA),
    ]

    assert len(set(found)) == len(found)
    assert identity(image=image.copy()) == found[0]
