"""What must be written down so that a result can be explained and repeated."""

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from dlb_core import __version__, artefacts
from dlb_core.artefacts import sha256_of
from dlb_core.checkpoints import Bundle
from dlb_core.contracts import SegmentationOptions
from dlb_core.report.document import InputRecord, ModelIdentity, RunRecord
from dlb_core.validation import check_header
from dlb_core.voting import CONVINCING_SHARE, TIE_RULE

LIBRARIES = (
    "torch",
    "numpy",
    "scipy",
    "nibabel",
    "deepbet",
    "picsl-greedy",
    "SimpleITK",
    "scikit-image",
    "KDEpy",
    "nilearn",
    "safetensors",
)
"""Those whose version can change a result."""


def utc_now() -> str:
    """The time, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def library_versions() -> dict[str, str]:
    """Installed versions of `LIBRARIES`, and our own."""
    return {"deeplesionbrain-service": __version__} | {name: version(name) for name in LIBRARIES}


def input_record(path: Path, role: Literal["T1w", "FLAIR"]) -> InputRecord:
    """An input by its content: neither name nor path, which may tell who it is."""
    facts = check_header(path, role=role)
    return InputRecord(
        role=role,
        sha256=sha256_of(path),
        shape=facts.shape,
        voxel_sizes_mm=facts.voxel_sizes,
        orientation=facts.orientation,
    )


def model_identity(bundle: Bundle) -> ModelIdentity:
    """Which weights are at work."""
    manifest = bundle.manifest
    return ModelIdentity(
        name=manifest.name,
        version=manifest.version,
        sha256=bundle.sha256,
        description=manifest.description,
    )


def is_result_of(
    folder: Path, t1w: Path, flair: Path, *, options: SegmentationOptions, bundle: Bundle
) -> bool:
    """Whether a folder holds the whole result of these scans, made as it would be made now."""
    # The record is written last, and removed first.
    if not all((folder / name).is_file() for name in artefacts.ALL):
        return False
    try:
        record = RunRecord.model_validate_json((folder / artefacts.RUN_JSON).read_text())
    except ValidationError:
        return False
    rules = (record.tie_rule, record.convincing_share)
    made = (record.software_version, record.options, record.model, record.inputs, rules)
    inputs = input_record(t1w, "T1w"), input_record(flair, "FLAIR")
    today = (TIE_RULE, float(CONVINCING_SHARE))
    return made == (__version__, options, model_identity(bundle), inputs, today)
