"""A bundle of weights: a folder with a manifest and one safetensors file per network.

The manifest names each network's file with its size and SHA-256; loading checks both, so a
missing, altered or swapped network cannot pass. Tensors are float16 on disk, float32 in
memory. The canary is a small fixed input with some of each network's outputs: it shows that
the weights still compute here what they computed where they were made.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from dlb_core.artefacts import sha256_of, whole_file, write_text
from dlb_core.contracts import NUM_NETWORKS, Message
from dlb_core.errors import CheckpointCorrupt
from dlb_core.model_card import fresh_card, is_ours, refreshed
from dlb_core.model_facts import Facts
from dlb_core.network import Architecture, UNet3d, lesion_probability
from dlb_core.tiling import (
    GRID_SHAPE,
    NETWORK_LOCATIONS,
    STARTS_I,
    STARTS_J,
    STARTS_K,
    SUBVOLUME_SIZE,
)

MANIFEST = "manifest.json"
MODEL_CARD = "model_card.md"
CANARY = "canary.safetensors"
CANARY_SIZE = 32
CANARY_SEED = 75
NUM_PROBES = 8
CANARY_TOLERANCE = 5e-3
"""Largest difference of a probability, between machines, that rounding may explain."""

Weights = Mapping[str, Tensor]


class FileEntry(Message):
    """A file of the bundle and what it must hold."""

    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]
    size_bytes: Annotated[int, Field(ge=1)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class NetworkEntry(FileEntry):
    """One network: its file, its place and what it answers to the canary."""

    name: str
    start: Annotated[list[int], Field(description="first voxel of its subvolume")]
    canary: Annotated[list[float], Field(description="lesion probability at the probes")]


class GridEntry(Message):
    """The lattice and the subvolumes that the networks were trained for."""

    shape: tuple[int, ...] = GRID_SHAPE
    subvolume_size: tuple[int, ...] = SUBVOLUME_SIZE
    starts_i: tuple[int, ...] = STARTS_I
    starts_j: tuple[int, ...] = STARTS_J
    starts_k: tuple[int, ...] = STARTS_K


class Manifest(Message):
    """What a bundle is; `manifest.json`."""

    schema_version: Annotated[Literal["1.0", "1.1"], Field(description="1.0 has no facts")] = "1.1"
    name: str
    version: str
    description: str
    architecture: Architecture
    grid: GridEntry = GridEntry()
    normalisation: str = "white-matter mode of a kernel density estimate at 1"
    vote_threshold: Annotated[
        float, Field(gt=0, lt=1, description="a network votes lesion from this probability on")
    ]
    training: Annotated[dict[str, Any], Field(description="provenance: cases, recipe, digests")]
    facts: Annotated[
        Facts | None, Field(description="for people: training, figures, failures, use")
    ] = None
    canary: FileEntry
    networks: Annotated[list[NetworkEntry], Field(min_length=NUM_NETWORKS, max_length=NUM_NETWORKS)]

    @property
    def seen_cases(self) -> frozenset[str]:
        """Cases that shaped the weights: trained or validated on, here or by what they grew from.

        Figures on these are no figures on unseen data.
        """
        kinds = ("cases", "validation_cases", "start_cases")
        return frozenset(case for kind in kinds for case in self.training.get(kind, []))


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle on disk whose manifest was read."""

    folder: Path
    manifest: Manifest
    sha256: str
    """Digest of the manifest, which holds all other digests."""

    @property
    def weights_sha256(self) -> str:
        """Digest of the networks' places and digests: the same whatever else the manifest says."""
        networks = "\n".join(f"{entry.start} {entry.sha256}" for entry in self.manifest.networks)
        return hashlib.sha256(networks.encode()).hexdigest()

    def load(self, index: int) -> dict[str, Tensor]:
        """Read, verify and widen the weights of one network.

        Raises
        ------
        CheckpointCorrupt
            The file is missing, or is not the one that the manifest describes.
        """
        entry = self.manifest.networks[index]
        return _parse(read_verified(self.folder, entry, entry.name), entry.name)

    def load_canary(self) -> Tensor:
        """The canary's input (1, 2, I, J, K)."""
        entry = self.manifest.canary
        return _parse(read_verified(self.folder, entry, "canary"), "canary")["input"]


def open_bundle(folder: Path) -> Bundle:
    """Read a bundle's manifest; the networks' files are verified as they are loaded.

    Raises
    ------
    CheckpointCorrupt
        There is no manifest, or it is not one that this version understands.
    """
    path = folder / MANIFEST
    try:
        text = path.read_bytes()
        manifest = Manifest.model_validate_json(text)
    except OSError as error:
        raise CheckpointCorrupt(
            f"no {MANIFEST} in the weights folder '{folder.name}': give a bundle with --weights"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise CheckpointCorrupt(f"{MANIFEST} is not valid at '{place}': {first['msg']}") from error
    _check_places(manifest)
    return Bundle(folder, manifest, hashlib.sha256(text).hexdigest())


def _check_places(manifest: Manifest) -> None:
    if manifest.grid != GridEntry():
        raise CheckpointCorrupt("the bundle was trained for another grid than this version's")
    for entry, location in zip(manifest.networks, NETWORK_LOCATIONS, strict=True):
        if entry.name != location.name:
            raise CheckpointCorrupt(f"{entry.name} stands where {location.name} belongs")
        if tuple(entry.start) != location.primary.start:
            raise CheckpointCorrupt(
                f"{entry.name} was trained for the subvolume at {tuple(entry.start)}, this version "
                f"runs it at {location.primary.start}: train it again, or use the version of this "
                "software that it was trained with"
            )


def read_verified(folder: Path, entry: FileEntry, name: str) -> bytes:
    """Read a file whole and check its size and digest."""
    try:
        content = (folder / entry.file).read_bytes()
    except OSError as error:
        raise CheckpointCorrupt(
            f"{name}: {entry.file} cannot be read; install the weights again"
        ) from error
    if len(content) != entry.size_bytes or hashlib.sha256(content).hexdigest() != entry.sha256:
        raise CheckpointCorrupt(
            f"{name}: {entry.file} is not the file that the manifest describes "
            "(altered, cut short or swapped); install the weights again"
        )
    return content


def _parse(content: bytes, name: str) -> dict[str, Tensor]:
    try:
        return {key: tensor.float() for key, tensor in load(content).items()}
    except SafetensorError as error:
        raise CheckpointCorrupt(f"{name}: not a safetensors file") from error


def build_network(architecture: Architecture) -> UNet3d:
    """An untrained network in inference mode, to be filled with one bundle's weights."""
    return UNet3d(architecture).eval()


def fill(network: UNet3d, weights: Weights, name: str) -> None:
    """Put weights into a network.

    Raises
    ------
    CheckpointCorrupt
        The weights belong to another architecture.
    """
    try:
        network.load_state_dict(dict(weights))
    except RuntimeError as error:
        raise CheckpointCorrupt(
            f"{name}: the weights do not fit the manifest's architecture"
        ) from error


def write_bundle(
    folder: Path,
    weights_of: Callable[[int], Weights],
    *,
    name: str,
    version: str,
    description: str,
    architecture: Architecture,
    vote_threshold: float,
    training: dict[str, Any],
    facts: Facts | None = None,
    shared_file: str | None = None,
    new_card: bool = False,
) -> Bundle:
    """Write a bundle: weights in float16, canary, model card, manifest last.

    Of a card that someone has written in only the marked parts are written anew.

    Weights files of a bundle that lay here before and that this one lacks are deleted.

    Parameters
    ----------
    folder : Path
        Made if missing.
    weights_of : callable
        Weights of network n, 0 to 74.
    shared_file : str, optional
        All networks are copies of network 0 and share this one file.
    new_card : bool
        Replace the model card that lies here even if someone has written in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    earlier = _weights_files(folder)
    canary = make_canary()
    canary_entry = _write_tensors(folder / CANARY, {"input": canary})
    network = build_network(architecture)
    served: list[tuple[FileEntry, list[float]]] = []
    for location in NETWORK_LOCATIONS:
        if shared_file and served:
            served.append(served[0])
            continue
        halved = {key: tensor.half() for key, tensor in weights_of(location.index).items()}
        file = _write_tensors(folder / (shared_file or f"{location.name}.safetensors"), halved)
        fill(network, {key: tensor.float() for key, tensor in halved.items()}, location.name)
        served.append((file, probe(network, canary.float())))
    entries = [
        NetworkEntry(
            **file.model_dump(),
            name=location.name,
            start=list(location.primary.start),
            canary=answers,
        )
        for location, (file, answers) in zip(NETWORK_LOCATIONS, served, strict=True)
    ]
    manifest = Manifest(
        name=name,
        version=version,
        description=description,
        architecture=architecture,
        vote_threshold=vote_threshold,
        training=training,
        facts=facts,
        canary=canary_entry,
        networks=entries,
    )
    _write_card(folder / MODEL_CARD, manifest, new_card)
    write_manifest(folder, manifest)
    for file_name in earlier - {entry.file for entry in entries}:
        (folder / file_name).unlink(missing_ok=True)
    return open_bundle(folder)


def _weights_files(folder: Path) -> set[str]:
    """Files of the networks of the bundle that lies here, if one does."""
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_text(encoding="utf-8"))
        return {entry.file for entry in manifest.networks}
    except (OSError, ValidationError):
        return set()


def _write_card(path: Path, manifest: Manifest, new_card: bool) -> None:
    card = path.read_text(encoding="utf-8") if path.exists() and not new_card else ""
    by_hand = card and not is_ours(card)
    write_text(path, refreshed(card, manifest) if by_hand else fresh_card(manifest))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a bundle's manifest, whole or not at all."""
    write_text(folder / MANIFEST, json.dumps(manifest.model_dump(mode="json"), indent=1) + "\n")


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> FileEntry:
    with whole_file(path) as file:
        file.write(save(tensors))
    return FileEntry(file=path.name, size_bytes=path.stat().st_size, sha256=sha256_of(path))


def make_canary() -> Tensor:
    """A fixed input (1, 2, 32, 32, 32), float16, that resembles smooth anatomy."""
    rng = np.random.default_rng(CANARY_SEED)
    coarse = rng.uniform(0, 1.6, (1, 2, 6, 6, 6)).astype(np.float32)
    size = (CANARY_SIZE,) * 3
    smooth = torch.nn.functional.interpolate(torch.from_numpy(coarse), size=size, mode="trilinear")
    return smooth.half()


def _probes() -> NDArray[np.int64]:
    rng = np.random.default_rng(CANARY_SEED + 1)
    return rng.integers(4, CANARY_SIZE - 4, (NUM_PROBES, 3))


@torch.inference_mode()
def probe(network: UNet3d, canary_BCIJK: Tensor) -> list[float]:
    """Lesion probabilities that a network gives at the canary's probes."""
    probability = lesion_probability(network(canary_BCIJK))[0]
    return [round(float(probability[tuple(place)]), 6) for place in _probes().tolist()]


def verify_bundle(bundle: Bundle, on_network: Callable[[int], None] = lambda _: None) -> None:
    """Check every file's digest and every network's answer to the canary.

    Raises
    ------
    CheckpointCorrupt
        Names the first network that is wrong.
    """
    canary = bundle.load_canary()
    network = build_network(bundle.manifest.architecture)
    for index, entry in enumerate(bundle.manifest.networks):
        fill(network, bundle.load(index), entry.name)
        difference = np.abs(np.subtract(probe(network, canary), entry.canary)).max()
        if not difference <= CANARY_TOLERANCE:  # so that NaN is caught too
            raise CheckpointCorrupt(
                f"{entry.name}: the canary's probabilities are off by {difference:.4f} "
                f"(at most {CANARY_TOLERANCE}): this installation computes something else"
            )
        on_network(index + 1)
