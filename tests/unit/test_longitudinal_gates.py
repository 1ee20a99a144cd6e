"""Visits that cannot be compared are refused; what makes a comparison doubtful is said."""

from dataclasses import replace

import numpy as np
import pytest

from dlb_core.contracts import SegmentationOptions
from dlb_core.errors import BadOption, QualityFailed
from dlb_core.longitudinal.gates import check_images, check_records
from dlb_core.longitudinal.limits import (
    FLOOR_MM3,
    smallest_detectable_mm3,
    smallest_detectable_total_mm3,
)
from dlb_core.longitudinal.rules import require_comparable
from dlb_core.longitudinal.space import middle
from dlb_core.longitudinal.visit import Visit, read_visit
from dlb_core.report.document import CheckStatus
from dlb_core.volume import Volume
from tests.unit.images import rigid
from tests.unit.longitudinal_kit import run_record
from tests.unit.plain_report import plain_report


def visit(
    *, voxel: tuple[float, float, float] = (1, 1, 3), sha256: str = "a" * 64, model: str = "0" * 64
) -> Visit:
    report = plain_report(SegmentationOptions(), brain_volume_ml=1200)
    nothing = np.zeros((2, 2, 2), dtype=np.float32)
    return Visit(
        report=report.model_copy(
            update={"model": report.model.model_copy(update={"sha256": model})}
        ),
        run=run_record(voxel=voxel, flair_sha256=sha256),
        flair=Volume(nothing, np.eye(4)),
        flair_brain=nothing > 0,
        preprocessed=nothing,
        agreement=nothing,
        labels=nothing.astype(np.int32),
    )


def status_of(name: str, first: Visit, second: Visit) -> CheckStatus:
    return next(check.status for check in check_records(first, second) if check.name == name)


def test_other_networks_are_refused() -> None:
    """Their difference would be taken for the patient's."""
    checks = check_records(visit(), visit(model="1" * 64))

    with pytest.raises(QualityFailed, match="different networks"):
        require_comparable(checks)


def test_a_visit_like_the_other_passes() -> None:
    checks = check_records(visit(), visit(sha256="b" * 64))

    require_comparable(checks)
    assert {check.name for check in checks if check.status is not CheckStatus.PASS} == {"limits"}


@pytest.mark.parametrize(
    ("voxel", "expected"),
    [
        ((1, 1, 3), CheckStatus.PASS),
        ((1, 1, 4), CheckStatus.WARN),
        ((1, 1, 7), CheckStatus.FAIL),
        # The same voxels, stored in another order of axes.
        ((3, 1, 1), CheckStatus.PASS),
    ],
)
def test_resolution(voxel: tuple[float, float, float], expected: CheckStatus) -> None:
    assert status_of("resolution", visit(), visit(voxel=voxel)) is expected


def test_another_protocol_is_said() -> None:
    """NIfTI names no scanner: the matrix and the voxels stand in for it."""
    assert status_of("protocol", visit(), visit(voxel=(1, 1, 3.3))) is CheckStatus.WARN


def test_the_same_scan_twice_is_said() -> None:
    """It shows no change whatever the disease does."""
    assert status_of("two_scans", visit(), visit()) is CheckStatus.WARN


def test_two_heads_are_refused() -> None:
    checks = check_images(disagreement_mm=0.1, brain_dice=0.85, field_sd=0.01, noise=0.02)

    with pytest.raises(QualityFailed, match="one person"):
        require_comparable(checks)


def test_noise_that_hides_changes_is_said() -> None:
    checks = check_images(disagreement_mm=0.1, brain_dice=0.98, field_sd=0.01, noise=0.06)

    assert {check.name for check in checks if check.status is CheckStatus.WARN} == {
        "difference_noise"
    }


def test_a_folder_without_results_is_refused(tmp_path: object) -> None:
    with pytest.raises(BadOption, match=r"first folder has no report\.json"):
        read_visit(tmp_path, name="first")  # type: ignore[arg-type]


def test_the_middle_is_as_far_from_either_side() -> None:
    """A space nearer to one visit would blur the other more."""
    one, other = rigid((4, -3, 10), (5, 2, -7)), rigid((6, -1, 12), (3, 4, -9))

    half = middle(one, other)

    np.testing.assert_allclose(half @ np.linalg.inv(one) @ half, other, atol=1e-9)
    np.testing.assert_allclose(middle(other, one), half, atol=1e-9)


def test_larger_lesions_must_change_by_more() -> None:
    """An error of the outline takes more of a larger surface."""
    small, large = smallest_detectable_mm3(0, 5), smallest_detectable_mm3(4000, 4100)

    assert small == FLOOR_MM3
    assert large > small
    assert smallest_detectable_mm3(100, 900) == smallest_detectable_mm3(900, 100)
    assert smallest_detectable_total_mm3([3, 4]) == 5
    assert smallest_detectable_total_mm3([]) == 0


def test_visits_keep_their_own_way_to_the_template() -> None:
    """FLAIR to T1w first, then T1w to the template."""
    moved = visit()
    run = moved.run.model_copy(update={"t1w_to_mni": rigid((0, 0, 0), (1, 0, 0)).tolist()})

    np.testing.assert_allclose(replace(moved, run=run).flair_to_mni[:3, 3], (1, 0, 0))
