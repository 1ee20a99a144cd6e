"""Make a new version of a finished case from a lesion mask that a reader has edited.

The edit is what differs from the version before, on the grid that was drawn on. Near an edit the
new mask is the reader's, elsewhere it stays as it was voxel for voxel: a lesion nobody touched
keeps its volume. What the networks said (probability, votes) stays what they said.

The new version is a whole folder of results; the version before stays as it is.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from scipy import ndimage

from dlb_core import artefacts
from dlb_core.corrections import Reader, write_record
from dlb_core.drawn_mask import DrawnMask, read_drawn_mask
from dlb_core.errors import CorrectionsExist, DiskFull
from dlb_core.finished import FinishedCase, read_case, read_map
from dlb_core.lesions import Labels, label_lesions
from dlb_core.measurement import measure_case
from dlb_core.nifti import read_mask, write_like, write_volume
from dlb_core.postprocessing import native_mask
from dlb_core.report.document import Correction, Report
from dlb_core.report.write import write_report
from dlb_core.resampling import resample
from dlb_core.template import MNI_GRID
from dlb_core.tissue import MM3_PER_ML
from dlb_core.versions import (
    MOST_VERSIONS,
    draft_of,
    remove_drafts,
    version_folder,
    versions_in,
)
from dlb_core.volume import Affine, Grid, Mask, Volume

NEAR_MM = 2.0
"""How far from an edit the reader's mask replaces the one before: a removed lesion's edge must go
with it, though the two grids' voxels do not meet."""

_REWRITTEN = frozenset(
    {
        artefacts.MASK_MNI,
        artefacts.MASK_T1W,
        artefacts.MASK_FLAIR,
        artefacts.LESION_LABELS_MNI,
        artefacts.LESION_TABLE,
        artefacts.REPORT_JSON,
        artefacts.REPORT_FHIR,
        artefacts.REPORT_HTML,
        artefacts.REPORT_PDF,
    }
)


def correct_case(results: Path, mask: Path, reader: Reader) -> Report:
    """Write the next version of a case beside those there are.

    Parameters
    ----------
    results : Path
        Folder of version 1; the newest version in it is the one that was edited.
    mask : Path
        The edited mask: NIfTI on the FLAIR's, the T1w's or the MNI grid.
    reader : Reader

    Returns
    -------
    Report
        Of the new version, which lies in `version_folder(results, report.version)`.

    Raises
    ------
    ResultsUnusable
        The folder is no whole folder of results.
    UnreadableImage, GeometryAmbiguous, ImplausibleImage, GridMismatch, NotAMask
        The mask is at fault: see `dlb_core.drawn_mask.read_drawn_mask`.
    CorrectionsExist
        There are as many versions as are kept, or another one was made meanwhile.
    DiskFull
        Nothing is left of the new version.
    """
    remove_drafts(results)
    newest = versions_in(results)[-1]
    if newest >= MOST_VERSIONS:
        raise CorrectionsExist(f"there are {newest} versions, as many as are kept")
    case = read_case(version_folder(results, newest))
    drawn = read_drawn_mask(mask, case.evidence)
    target = version_folder(results, newest + 1)
    with _draft(target) as draft:
        report = _write_version(case, drawn, draft, reader, artefacts.sha256_of(mask))
        _publish(draft, target)
    return report


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """Make a folder to write a version in; whatever is left there at the end is removed."""
    draft = draft_of(target)
    try:
        draft.mkdir(parents=True)
        yield draft
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull("no room for a new version of the results: free disk space") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _publish(draft: Path, target: Path) -> None:
    """Make a whole version visible at once; the first of two wins."""
    try:
        draft.rename(target)
    except OSError as error:
        raise CorrectionsExist(
            f"version {target.name} was made meanwhile: look at it, and send the mask again"
        ) from error
    artefacts.sync_folder(target.parent)


def _write_version(
    case: FinishedCase, drawn: DrawnMask, folder: Path, reader: Reader, sha256: str
) -> Report:
    evidence = case.evidence
    before = read_map(case.folder, artefacts.MASK_MNI, bool)
    mask = merged_mask(case, drawn, before)
    labels = label_lesions(mask)
    # A reader's small lesion is a lesion; the bounds stay the networks' own.
    measures = measure_case(labels, evidence, minimum_mm3=case.report.options.minimum_lesion_mm3)
    report = case.report.model_copy(
        update={
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "totals": measures.totals,
            "locations": measures.locations,
            "lesions": measures.lesions,
        }
    )
    correction = _correction(case, report, before, mask, drawn, reader, sha256)
    report = report.model_copy(update={"corrections": (*case.report.corrections, correction)})
    _write_masks(case, drawn, mask, folder)
    write_volume(
        folder / artefacts.LESION_LABELS_MNI, Volume(labels, MNI_GRID.affine), dtype=np.int32
    )
    agreement = evidence.votes / np.maximum(evidence.coverage, 1).astype(np.float32)
    write_report(
        folder,
        report,
        t1w=evidence.t1w,
        flair=evidence.flair,
        mask=mask,
        labels=labels,
        probability=evidence.probability,
        agreement=agreement,
        brain_mask=evidence.brain_mask,
    )
    _take_over_the_rest(case.folder, folder)
    _add_dicom(case.folder, folder)
    write_record(folder, report)
    return report


def merged_mask(case: FinishedCase, drawn: DrawnMask, before: Mask) -> Mask:
    """The reader's mask near their edits, the one before elsewhere; on the MNI grid."""
    if drawn.space == "MNI152":
        return drawn.mask
    grid, to_mni, name = _native(case, drawn)
    shown = read_mask(case.folder / name, role=name).data > 0.5
    edited = _carried(drawn.mask != shown, grid, to_mni)
    if not edited.any():
        return before
    near = ndimage.distance_transform_edt(~edited, sampling=MNI_GRID.voxel_sizes) <= NEAR_MM
    carried = _carried(drawn.mask, grid, to_mni)
    merged = np.asarray(np.where(near, carried, before), dtype=bool)
    return _without_remnants(merged, carried, label_lesions(before), edited)


def _without_remnants(merged: Mask, carried: Mask, before: Labels, edited: Mask) -> Mask:
    """Drop what is left of a lesion that was removed, where coarse voxels never showed it."""
    touched = np.isin(before, np.unique(before[edited & (before > 0)]))
    parts = label_lesions(merged)
    shown = np.unique(parts[carried])
    remnant = touched & merged & ~np.isin(parts, shown)
    return merged & ~remnant


def _native(case: FinishedCase, drawn: DrawnMask) -> tuple[Grid, Affine, str]:
    evidence = case.evidence
    if drawn.space == "FLAIR":
        return evidence.native_flair, evidence.flair_to_mni, artefacts.MASK_FLAIR
    return evidence.native_t1w, evidence.t1w_to_mni, artefacts.MASK_T1W


def _carried(mask: Mask, grid: Grid, to_mni: Affine) -> Mask:
    """A native mask on the MNI grid: each voxel's is that of the native one it lies in."""
    volume = Volume(mask.astype(np.float32), grid.affine)
    return np.asarray(resample(volume, MNI_GRID, to_mni, order=0) > 0.5, dtype=bool)


def _correction(
    case: FinishedCase,
    report: Report,
    before: Mask,
    mask: Mask,
    drawn: DrawnMask,
    reader: Reader,
    sha256: str,
) -> Correction:
    voxel_ml = case.evidence.voxel_mm3 / MM3_PER_ML
    return Correction(
        version=case.report.version + 1,
        created=report.created,
        author=reader.author,
        note=reader.note,
        space=drawn.space,
        mask_sha256=sha256,
        added_ml=float((mask & ~before).sum()) * voxel_ml,
        removed_ml=float((before & ~mask).sum()) * voxel_ml,
        lesion_count_before=case.report.totals.lesion_count,
        lesion_volume_before_ml=case.report.totals.lesion_volume_ml,
    )


def _write_masks(case: FinishedCase, drawn: DrawnMask, mask: Mask, folder: Path) -> None:
    """The three masks; the one that was drawn is the reader's, voxel for voxel."""
    evidence = case.evidence
    write_volume(folder / artefacts.MASK_MNI, Volume(mask, MNI_GRID.affine), dtype=np.uint8)
    natives = (
        ("T1w", artefacts.MASK_T1W, evidence.native_t1w, evidence.t1w_to_mni),
        ("FLAIR", artefacts.MASK_FLAIR, evidence.native_flair, evidence.flair_to_mni),
    )
    for space, name, grid, to_mni in natives:
        native = drawn.mask
        if space != drawn.space:
            native = native_mask(
                mask,
                evidence.probability,
                grid,
                to_mni,
                threshold=case.run.vote_threshold,
            )
        write_like(folder / name, native, case.folder / name, dtype=np.uint8, role=name)


def _add_dicom(before: Path, folder: Path) -> None:
    """Objects of the new version, where the case came as DICOM."""
    kept = before / artefacts.DICOM_KEPT
    if kept.exists():
        # Here, because few cases need what it loads.
        from dlb_core.dicom.results.write import write_dicom

        write_dicom(folder, kept)


def _take_over_the_rest(before: Path, folder: Path) -> None:
    """What no reader changes, without writing it twice where the disk can."""
    for name in artefacts.ALL:
        if name in _REWRITTEN or not (before / name).is_file():
            continue
        try:
            os.link(before / name, folder / name)
        except OSError:
            shutil.copy2(before / name, folder / name)
