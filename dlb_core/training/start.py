"""Where a training's first weights come from, known by digest."""

from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from dlb_core.artefacts import sha256_of
from dlb_core.checkpoints import Bundle, Manifest, Weights, open_bundle
from dlb_core.errors import BadOption, CheckpointCorrupt


@dataclass(frozen=True, slots=True, eq=False)
class StartWeights:
    """Weights to start from, instead of random ones."""

    tensors: Weights
    sha256: str
    """Digest of the file that they were read from."""
    manifest: Manifest | None = None
    """Of the bundle that they come from, if they come from one."""

    @property
    def seen_cases(self) -> frozenset[str]:
        """Cases that shaped them, as far as their bundle says."""
        return self.manifest.seen_cases if self.manifest else frozenset()


def from_file(path: Path) -> StartWeights:
    """Read a safetensors file, such as a finished run's weights.

    Raises
    ------
    CheckpointCorrupt
        It cannot be read.
    """
    try:
        return StartWeights(load_file(path), sha256_of(path))
    except (SafetensorError, OSError) as error:
        raise CheckpointCorrupt(f"{path.name} cannot be read as weights to start from") from error


def from_bundle(bundle: Bundle, index: int) -> StartWeights:
    """Read and verify one network of a bundle."""
    manifest = bundle.manifest
    return StartWeights(bundle.load(index), manifest.networks[index].sha256, manifest)


def generic_start(path: Path) -> StartWeights:
    """Weights for a generic network to start from: a file, or a bundle of one network.

    A bundle also says which cases have shaped them; a file does not.

    Raises
    ------
    BadOption
        The bundle holds different networks.
    CheckpointCorrupt
        The weights cannot be read.
    """
    if not path.is_dir():
        return from_file(path)
    bundle = open_bundle(path)
    if len({entry.sha256 for entry in bundle.manifest.networks}) > 1:
        raise BadOption(
            "--initialise-from: this bundle's networks differ, and a generic network can start "
            "from one alone: use --from-bundle to train each network on"
        )
    return from_bundle(bundle, 0)
