"""The synthetic patient is what it says: raw scans of one head, with lesions that are known."""

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from dlb_core.cli.sample import add_parser
from dlb_core.lesions import label_lesions
from dlb_core.resampling import resample
from dlb_core.synthesis.anatomy import build_head
from dlb_core.synthesis.patient import (
    FLAIR_FILE,
    LESIONS_FILE,
    README_FILE,
    T1W_FILE,
    SyntheticPatient,
    make_patient,
    write_patient,
)
from dlb_core.synthesis.plaques import draw_plaques
from dlb_core.template import load_template
from dlb_core.volume import Grid, Volume

COARSE = 3


@pytest.fixture(scope="module")
def patient() -> SyntheticPatient:
    return make_patient(seed=4, coarsening=COARSE)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_one_seed_gives_one_patient(patient: SyntheticPatient) -> None:
    """The demo's figures can only be compared if the sample repeats."""
    again = make_patient(seed=4, coarsening=COARSE)

    np.testing.assert_array_equal(again.t1w.data, patient.t1w.data)
    np.testing.assert_array_equal(again.flair.data, patient.flair.data)
    np.testing.assert_array_equal(again.lesions_flair.data, patient.lesions_flair.data)
    np.testing.assert_array_equal(again.flair.affine, patient.flair.affine)


def test_another_seed_gives_another_patient(patient: SyntheticPatient) -> None:
    other = make_patient(seed=5, coarsening=COARSE)

    assert not np.array_equal(other.t1w_to_mni, patient.t1w_to_mni)
    assert not np.array_equal(other.lesions_flair.data, patient.lesions_flair.data)


def test_the_two_scans_lie_on_different_oblique_grids(patient: SyntheticPatient) -> None:
    """Otherwise neither registration nor resampling would have work to do."""
    for volume in (patient.t1w, patient.flair):
        rotation = volume.affine[:3, :3] / volume.grid.voxel_sizes
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        assert np.abs(rotation).max(axis=0).max() < 0.9999

    assert nib.aff2axcodes(patient.t1w.affine) != nib.aff2axcodes(patient.flair.affine)
    assert patient.flair.grid.voxel_sizes == pytest.approx((COARSE, COARSE, 3 * COARSE))


def test_the_whole_brain_lies_in_both_fields_of_view(patient: SyntheticPatient) -> None:
    for brain in (patient.brain_t1w, patient.brain_flair):
        inner = brain.data[1:-1, 1:-1, 1:-1].sum()
        assert inner == brain.data.sum() > 0


def test_the_true_transform_brings_the_brain_onto_the_template(patient: SyntheticPatient) -> None:
    """It is what registration is judged against."""
    template = load_template().brain_mask[::3, ::3, ::3]
    grid = Grid(template.shape, np.diag([3.0, 3, 3, 1]) + _corner(-90, -126, -72))

    brain = resample(_float(patient.brain_t1w), grid, patient.t1w_to_mni) > 0.5

    assert dice(brain, template) > 0.93


def test_both_scans_show_the_same_lesions(patient: SyntheticPatient) -> None:
    """The patient moved between the scans; the masks must have moved along."""
    to_t1w = np.linalg.inv(patient.t1w_to_mni) @ patient.flair_to_mni

    moved = resample(_float(patient.lesions_flair), patient.t1w.grid, to_t1w) > 0.4

    assert dice(moved, patient.lesions_t1w.data > 0) > 0.5


def test_lesions_are_bright_in_flair_and_dark_in_t1w(patient: SyntheticPatient) -> None:
    """That is what makes them MS lesions, to a reader and to a network."""
    lesion = patient.lesions_flair.data > 0
    brain = patient.brain_flair.data > 0
    assert np.median(patient.flair.data[lesion]) > 1.2 * np.median(patient.flair.data[brain])

    lesion = patient.lesions_t1w.data > 0
    brain = patient.brain_t1w.data > 0
    white_level = np.percentile(patient.t1w.data[brain], 80)
    assert np.median(patient.t1w.data[lesion]) < 0.9 * white_level


def test_lesions_lie_in_the_brain(patient: SyntheticPatient) -> None:
    assert not (patient.lesions_flair.data > patient.brain_flair.data).any()


def test_a_head_surrounds_the_brain(patient: SyntheticPatient) -> None:
    """Brain extraction must have something to remove: bright scalp beyond dark bone."""
    outside = (patient.brain_t1w.data == 0) & (patient.t1w.data > 300)

    assert outside.sum() > 0.3 * patient.brain_t1w.data.sum()


def test_a_healthy_brain_has_no_lesion() -> None:
    healthy = make_patient(seed=4, lesions=False, coarsening=COARSE)

    assert not healthy.lesions_flair.data.any()
    assert not healthy.lesions_t1w.data.any()


def test_lesions_are_many_and_mostly_near_the_ventricles() -> None:
    """The distribution of a typical patient, not one ball in the middle."""
    rng = np.random.default_rng(2)
    head = build_head(rng, step=2)

    plaques = draw_plaques(rng, head, total_mm3=14000)

    lesions = plaques.share > 0.5
    assert 15 <= label_lesions(lesions).max() <= 40
    assert 9000 < lesions.sum() * head.grid.voxel_mm3 < 16000
    assert not (lesions & ~head.brain).any()
    white = head.ventricle_distance_mm[head.white_matter > 0.7]
    assert np.median(head.ventricle_distance_mm[lesions]) < np.median(white)


def test_the_written_files_hold_the_patient(tmp_path: Path) -> None:
    """What is submitted is what the truth is known of."""
    patient = write_patient(tmp_path / "sample", seed=3, coarsening=COARSE)

    names = {path.name for path in (tmp_path / "sample").iterdir()}
    assert names == {T1W_FILE, FLAIR_FILE, LESIONS_FILE, README_FILE}
    flair = nib.load(tmp_path / "sample" / FLAIR_FILE)
    mask = nib.load(tmp_path / "sample" / LESIONS_FILE)
    np.testing.assert_array_equal(np.asarray(flair.dataobj), patient.flair.data)
    np.testing.assert_array_equal(np.asarray(mask.dataobj), patient.lesions_flair.data)
    np.testing.assert_allclose(flair.affine, patient.flair.affine, atol=1e-4)
    assert "synthetic" in (tmp_path / "sample" / README_FILE).read_text()


def _float(volume: Volume) -> Volume:
    return Volume(volume.data.astype(np.float32), volume.affine)


def _corner(x: float, y: float, z: float) -> np.ndarray:
    offset = np.zeros((4, 4))
    offset[:3, 3] = x, y, z
    return offset


@pytest.mark.parametrize("seed", ["-1", "one"])
def test_a_seed_that_is_none_is_refused_by_the_command_line(
    seed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())

    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["sample", "--output", "here", f"--seed={seed}"])

    assert ended.value.code == 2
    assert "seed" in capsys.readouterr().err
