"""The mean of several bundles is a bundle."""

from pathlib import Path

import pytest
import torch
from bundles import TINY, write_tiny_bundle

from dlb_core.checkpoints import Bundle, open_bundle, write_bundle
from dlb_core.cli.main import main
from dlb_core.errors import InputError
from dlb_core.network import UNet3d
from dlb_core.training.averaging import average_bundles


def _generic(folder: Path, seed: int, case: str) -> Bundle:
    torch.manual_seed(seed)
    weights = dict(UNet3d(TINY).state_dict())
    return write_bundle(
        folder,
        lambda _: weights,
        name=case,
        version="1",
        description="Untrained.",
        architecture=TINY,
        vote_threshold=0.5,
        training={"cases": [case, "both"]},
        shared_file="generic.safetensors",
    )


def test_weights_are_the_mean_and_all_cases_count_as_seen(tmp_path: Path) -> None:
    """Figures on a case of either would be no figures on unseen data."""
    first, second = (_generic(tmp_path / name, n, name) for n, name in enumerate(("a", "b")))

    named = ("--output", str(tmp_path / "mean"), "--name", "mean", "--version", "2")
    code = main(["bundle", "average", str(first.folder), str(second.folder), *named])

    mean = open_bundle(tmp_path / "mean")
    assert code == 0
    assert mean.manifest.seen_cases == {"a", "b", "both"}
    assert {entry.file for entry in mean.manifest.networks} == {"generic.safetensors"}
    for key, tensor in mean.load(3).items():
        expected = (first.load(3)[key] + second.load(3)[key]) / 2
        assert torch.allclose(tensor, expected, atol=1e-3)


def test_bundles_that_have_no_mean_are_refused(tmp_path: Path) -> None:
    """One alone, the same twice, networks that vote otherwise; nothing is written."""
    generic = _generic(tmp_path / "generic", 0, "a")
    hesitant = write_tiny_bundle(tmp_path / "hesitant", threshold=0.3)
    refused = {
        "two bundles or more": [generic],
        "same weights": [generic, generic],
        "vote threshold": [generic, hesitant],
    }

    for reason, bundles in refused.items():
        with pytest.raises(InputError, match=reason):
            average_bundles(bundles, tmp_path / "mean", name="m", version="1", description="d")

    with pytest.raises(InputError, match="one number above 0 for each of the 2 bundles"):
        average_bundles(
            [generic, _generic(tmp_path / "other", 1, "b")],
            tmp_path / "mean",
            shares=[1, 0],
            name="m",
            version="1",
            description="d",
        )

    assert not (tmp_path / "mean").exists()


def test_a_generic_network_and_its_specialised_ones_have_a_mean_by_shares(tmp_path: Path) -> None:
    """75 networks, each between the one that they grew from and itself."""
    generic = _generic(tmp_path / "generic", 99, "a")
    special = write_tiny_bundle(tmp_path / "special")

    given = ("bundle", "average", str(generic.folder), str(special.folder), "--shares", "3", "1")
    assert main([*given, "--output", str(tmp_path / "mean")]) == 0

    mean = open_bundle(tmp_path / "mean")
    assert len({entry.sha256 for entry in mean.manifest.networks}) == 75
    assert [part["share"] for part in mean.manifest.training["mean_of"]] == [0.75, 0.25]
    for key, tensor in mean.load(3).items():
        expected = 0.75 * generic.load(3)[key] + 0.25 * special.load(3)[key]
        assert torch.allclose(tensor, expected, atol=1e-3)


def test_a_bundle_is_not_replaced_by_its_own_mean(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The weights of a training would be lost to a slip of the hand."""
    first, second = (_generic(tmp_path / name, n, name) for n, name in enumerate(("a", "b")))
    (tmp_path / "link").symlink_to(first.folder)

    given = ("bundle", "average", str(first.folder), str(second.folder))
    code = main([*given, "--output", str(tmp_path / "link")])

    assert code == 2
    assert "write to another folder" in capsys.readouterr().err
    assert open_bundle(first.folder).sha256 == first.sha256
