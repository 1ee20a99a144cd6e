"""Bundles of weights: nothing missing, altered or swapped gets through."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from dlb_core.checkpoints import MANIFEST, Bundle, open_bundle, verify_bundle
from dlb_core.errors import CheckpointCorrupt
from dlb_core.network import UNet3d
from tests.unit.bundles import TINY, write_tiny_bundle


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that nobody may change."""
    folder = tmp_path_factory.mktemp("bundle")
    write_tiny_bundle(folder)
    return folder


@pytest.fixture
def bundle(pristine: Path, tmp_path: Path) -> Bundle:
    """A copy to spoil."""
    return open_bundle(shutil.copytree(pristine, tmp_path / "bundle"))


def test_weights_come_back_as_written_but_for_half_precision(bundle: Bundle) -> None:
    """float16 on disk."""
    torch.manual_seed(7)
    original = UNet3d(TINY).state_dict()

    loaded = bundle.load(7)

    assert loaded.keys() == original.keys()
    for name, tensor in original.items():
        assert torch.equal(loaded[name], tensor.half().float())


def test_a_good_bundle_verifies(bundle: Bundle) -> None:
    """Every digest, every canary."""
    done: list[int] = []

    verify_bundle(bundle, done.append)

    assert done == list(range(1, 76))


def test_a_missing_network_is_named(bundle: Bundle) -> None:
    """The operator must know which file to restore."""
    (bundle.folder / "network-33.safetensors").unlink()

    with pytest.raises(CheckpointCorrupt, match="network-33"):
        verify_bundle(bundle)


def test_one_flipped_bit_is_found(bundle: Bundle) -> None:
    """A wrong weight still computes; it just computes something else."""
    path = bundle.folder / "network-50.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)

    with pytest.raises(CheckpointCorrupt, match="network-50"):
        bundle.load(50)


def test_swapped_networks_are_found(bundle: Bundle) -> None:
    """Both files are good, and both in the wrong place."""
    one, other = (bundle.folder / f"network-{n}.safetensors" for n in (10, 11))
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)

    with pytest.raises(CheckpointCorrupt, match="network-10"):
        bundle.load(10)


def test_swapped_manifest_entries_are_found(bundle: Bundle) -> None:
    """Digests match, places do not."""
    manifest = json.loads((bundle.folder / MANIFEST).read_text())
    manifest["networks"][3], manifest["networks"][4] = (
        manifest["networks"][4],
        manifest["networks"][3],
    )
    (bundle.folder / MANIFEST).write_text(json.dumps(manifest))

    with pytest.raises(CheckpointCorrupt, match="network-04 stands where network-03 belongs"):
        open_bundle(bundle.folder)


def test_a_bundle_of_another_layout_is_refused(bundle: Bundle) -> None:
    """Each network would look at the mirror image of what it learned."""
    manifest = json.loads((bundle.folder / MANIFEST).read_text())
    manifest["networks"][1]["start"] = [2, 2, 20]
    (bundle.folder / MANIFEST).write_text(json.dumps(manifest))

    with pytest.raises(CheckpointCorrupt, match=r"network-01 .*\(2, 2, 20\).*train it again"):
        open_bundle(bundle.folder)


def test_a_canary_that_answers_otherwise_is_found(bundle: Bundle) -> None:
    """Right bytes, wrong arithmetic: a broken library, say."""
    manifest = json.loads((bundle.folder / MANIFEST).read_text())
    manifest["networks"][5]["canary"][0] = 1 - manifest["networks"][5]["canary"][0]
    manifest["networks"][5]["canary"][1] += 0.2
    (bundle.folder / MANIFEST).write_text(json.dumps(manifest))

    with pytest.raises(CheckpointCorrupt, match="network-05: the canary"):
        verify_bundle(open_bundle(bundle.folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vote_threshold": 2}, "vote_threshold"),
        ({"networks": []}, "networks"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_an_invalid_manifest_names_the_field(
    bundle: Bundle, change: dict[str, object], message: str
) -> None:
    """Not a traceback."""
    manifest = json.loads((bundle.folder / MANIFEST).read_text()) | change
    (bundle.folder / MANIFEST).write_text(json.dumps(manifest))

    with pytest.raises(CheckpointCorrupt, match=message):
        open_bundle(bundle.folder)


def test_no_bundle_says_what_to_do(tmp_path: Path) -> None:
    """A mistyped folder."""
    with pytest.raises(CheckpointCorrupt, match="--weights"):
        open_bundle(tmp_path)
