"""What becomes of a case whose process starts when its job has just ended."""

import logging
import threading
from io import BytesIO
from pathlib import Path

import pytest

from dlb_core.contracts import Device, SegmentationOptions
from worker.case import _outcome
from worker.messages import CaseRequest, Failed


def test_a_case_whose_images_are_gone_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They go with a cancelled job: that is no fault to look for in the log."""
    request = CaseRequest(
        t1w=tmp_path / "T1w.nii.gz",
        flair=tmp_path / "FLAIR.nii.gz",
        output=tmp_path / "output",
        bundle=tmp_path / "weights",
        votes=tmp_path / "votes",
        options=SegmentationOptions(),
        device=Device.CPU,
        threads=1,
        memory_mb=None,
        pipeline="tests.integration.quick_pipeline:segment_case",
    )

    with caplog.at_level(logging.ERROR):
        outcome = _outcome(request, BytesIO(), threading.Event())

    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.transient) == ("inputs-gone", False)
    assert caplog.records == []
