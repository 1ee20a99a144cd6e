"""A whole training over real workers and a real broker, one worker killed in the middle."""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import torch
from job_harness import ROOT, signal_all, wait_until
from safetensors.torch import load_file
from sqlalchemy import select

from dlb_core.checkpoints import open_bundle, verify_bundle
from dlb_core.jobs.database import open_engine
from dlb_core.jobs.layout import DataFolder
from dlb_core.jobs.training.tables import TrainingTaskRow
from dlb_core.tiling import NETWORK_LOCATIONS
from dlb_core.training.cache import open_cache
from dlb_core.training.hierarchy import Hierarchy, share_out
from dlb_core.training.run_folder import LOCK, WEIGHTS
from dlb_core.training.state import PATTERN
from tests.unit.training_kit import RECIPE, write_training_cache

TRAIN = """
import sys
from dlb_core.cli.main import main
from dlb_core.training import recipe
from tests.unit.training_kit import RECIPE
recipe.RECIPES["compact"] = RECIPE
sys.exit(main(sys.argv[1:]))
"""
PATIENCE_S = 800.0
"""Two workers load PyTorch and train 76 networks: half a minute on an idle machine."""
SETTINGS = {
    "DLB_LEASE_S": "10",
    "DLB_HEARTBEAT_S": "1",
    "DLB_POLL_S": "0.2",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(ROOT),
}


class Training:
    """`dlb train --distributed --workers 2`, with a checkpoint after every step."""

    def __init__(self, root: Path) -> None:
        self._log = root / "log"
        self.cache = write_training_cache(root / "cache")
        self.run, self.bundle = root / "run", root / "bundle"
        command = [
            *("train", "--distributed", "--workers", "2", "--checkpoint-every", "0"),
            *("--steps", "3", "--specialise-steps", "2"),
            *("--cache", str(self.cache), "--run", str(self.run), "--bundle", str(self.bundle)),
        ]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", TRAIN, *command],
                env=os.environ | SETTINGS,
                stdout=log,
                stderr=log,
            )

    def workers(self) -> list[list[psutil.Process]]:
        """Each worker's process, and those below it."""
        children = psutil.Process(self.process.pid).children()
        return [
            [child, *child.children(recursive=True)]
            for child in children
            if "worker" in child.cmdline()
        ]

    def end(self) -> None:
        """Leave nothing running."""
        if self.process.poll() is None:
            below = psutil.Process(self.process.pid).children(recursive=True)
            signal_all(below, signal.SIGKILL)
            self.process.kill()
        self.process.wait()

    def describe(self) -> str:
        """What was said so far."""
        logs = [self._log, *self.run.glob("queue/logs/*.log")]
        return "\n".join(log.read_text()[-3000:] for log in logs if log.exists())


@dataclass
class Victim:
    """A worker, and the network that it is training."""

    processes: list[psutil.Process]
    network: Path

    def is_in_the_middle(self) -> bool:
        """Whether there is a checkpoint to go on from, and still something to do."""
        return bool(list(self.network.glob(PATTERN))) and not (self.network / WEIGHTS).exists()


@pytest.mark.timeout(2 * PATIENCE_S)
def test_a_training_ends_in_a_bundle_though_a_worker_is_killed(tmp_path: Path) -> None:
    """Its network is taken over where it stood, and is what an undisturbed one would be."""
    training = Training(tmp_path)
    frozen: list[Victim] = []
    try:
        wait_until(
            lambda: _freeze_one(training, frozen), describe=training.describe, patience_s=PATIENCE_S
        )
        signal_all(frozen[0].processes, signal.SIGKILL)
        wait_until(
            lambda: training.process.poll() is not None,
            describe=training.describe,
            patience_s=PATIENCE_S,
        )
    finally:
        training.end()

    assert training.process.returncode == 0, training.describe()
    bundle = open_bundle(training.bundle)
    verify_bundle(bundle)
    assert len({entry.sha256 for entry in bundle.manifest.networks}) == len(NETWORK_LOCATIONS)
    name = frozen[0].network.name
    assert _claims_of(training, name) > 1
    taken_over = load_file(frozen[0].network / WEIGHTS)
    for tensor_name, tensor in _undisturbed(training, tmp_path / "again", name).items():
        assert torch.equal(taken_over[tensor_name], tensor), tensor_name


def _freeze_one(training: Training, frozen: list[Victim]) -> bool:
    """Stop a worker that has a network half done; let it go on where we came too late."""
    victim = _working(training)
    if victim is None:
        return False
    signal_all(victim.processes, signal.SIGSTOP)
    if victim.is_in_the_middle() and _holds(victim.processes, victim.network):
        frozen.append(victim)
        return True
    signal_all(victim.processes, signal.SIGCONT)
    return False


def _working(training: Training) -> Victim | None:
    for network in sorted(training.run.glob("network-*")):
        for processes in training.workers():
            victim = Victim(processes, network)
            if victim.is_in_the_middle() and _holds(processes, network):
                return victim
    return None


def _holds(processes: list[psutil.Process], network: Path) -> bool:
    lock = str(network / LOCK)
    return any(lock == file.path for process in processes for file in process.open_files())


def _claims_of(training: Training, name: str) -> int:
    engine = open_engine(DataFolder(training.run / "queue").database_url)
    with engine.connect() as connection:
        query = select(TrainingTaskRow.fence).where(TrainingTaskRow.name == name)
        fence: int = connection.execute(query).scalar_one()
    engine.dispose()
    return fence


def _undisturbed(training: Training, run: Path, name: str) -> dict[str, torch.Tensor]:
    torch.set_num_threads(1)
    cases = share_out(open_cache(training.cache), left_out=frozenset(), validation=frozenset())
    (run / "generic").mkdir(parents=True)
    shutil.copy(training.run / "generic" / WEIGHTS, run / "generic" / WEIGHTS)
    index = next(place.index for place in NETWORK_LOCATIONS if place.name == name)
    assert RECIPE.specialisation is not None
    own = RECIPE.specialisation.model_copy(update={"num_steps": 2})
    recipe = RECIPE.model_copy(update={"specialisation": own})
    return load_file(Hierarchy(run, recipe, cases).specialise(index))
