"""One case from two files to a folder of results: stations in order, each in its module.

Source: Kamraoui et al., Medical Image Analysis 76 (2022) 102312.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from dlb_core import __version__, artefacts
from dlb_core.accelerator import require_device
from dlb_core.artefacts import clear_artefacts, write_text
from dlb_core.checkpoints import Bundle, open_bundle
from dlb_core.contracts import (
    NUM_NETWORKS,
    Device,
    InputState,
    ProgressCallback,
    SegmentationOptions,
    Stage,
    StopCallback,
)
from dlb_core.ensemble import EnsembleRun, run_ensemble
from dlb_core.errors import Cancelled
from dlb_core.input_trust import judge_input, trust_check
from dlb_core.lesions import Labels, label_lesions, patient_voxel_mm3
from dlb_core.measurement import Evidence, measure_case
from dlb_core.nifti import read_volume, write_like, write_volume
from dlb_core.postprocessing import lesion_mask, native_mask
from dlb_core.preprocessing.steps import (
    NativeImage,
    PreprocessedCase,
    ignore,
    never,
    preprocess_case,
)
from dlb_core.provenance import input_record, library_versions, model_identity, utc_now
from dlb_core.quality import assess, require_passed
from dlb_core.report.document import (
    InputRecord,
    InputTrust,
    QualityCheck,
    Report,
    Robustness,
    RunRecord,
)
from dlb_core.report.write import write_report
from dlb_core.robustness import ALTERATIONS, Image, altered, summarise_runs
from dlb_core.stopwatch import Stopwatch, peak_memory_mb
from dlb_core.template import MNI_GRID
from dlb_core.tissue import brain_volume_ml, intracranial_volume
from dlb_core.validation import check_header, check_pair
from dlb_core.volume import Affine, Mask, Volume
from dlb_core.voting import CONVINCING_SHARE, TIE_RULE


@dataclass(frozen=True, slots=True)
class _Request:
    """What was asked for."""

    t1w: Path
    flair: Path
    output: Path
    options: SegmentationOptions
    device: Device
    num_threads: int
    votes: Path | None


@dataclass(frozen=True, slots=True, eq=False)
class _Findings:
    """What was found, on the MNI grid."""

    case: PreprocessedCase
    run: EnsembleRun
    mask: Mask
    labels: Labels
    quality: tuple[QualityCheck, ...]
    trust: InputTrust
    robustness: Robustness | None


def segment_case(
    t1w: Path,
    flair: Path,
    output: Path,
    *,
    options: SegmentationOptions,
    bundle: Path,
    device: Device = Device.CPU,
    num_threads: int | None = None,
    on_progress: ProgressCallback = ignore,
    should_stop: StopCallback = never,
    votes: Path | None = None,
) -> Report:
    """Segment the lesions of one case and write every artefact.

    Parameters
    ----------
    t1w, flair : Path
        NIfTI files of one person and one visit.
    output : Path
        Folder for the artefacts; made if missing. An earlier case's artefacts in it are
        removed first; each file lands whole or not at all.
    options : SegmentationOptions
    bundle : Path
        Folder of weights.
    device : Device
    num_threads : int, optional
        CPU threads; all that this process may use if not given. The mask is bit-identical
        for the same input, machine type and number of threads.
    on_progress : callable
        Told of each stage, and of each of the 75 networks.
    should_stop : callable
        Asked between steps and between networks.
    votes : Path, optional
        File that keeps the networks' votes on the way. A case that was cut short and is run
        again with it is preprocessed anew, then goes on with the networks that have not voted;
        its masks are bit-identical to those of a run in one go.

    Returns
    -------
    Report
        Also written, as `report.json`.

    Raises
    ------
    InputError
        The input is at fault; the message says which image, what, and what to do.
    ModelError
        The weights or the template are not what they must be.
    StageFailed
        A step failed on this case.
    Cancelled
        `should_stop` said so.
    """
    threads = num_threads or len(os.sched_getaffinity(0))
    request = _Request(t1w, flair, output, options, device, threads, votes)
    require_device(device)
    torch.set_num_threads(threads)
    with threadpool_limits(limits=threads):
        return _segment(request, open_bundle(bundle), Stopwatch(on_progress), should_stop)


def _segment(
    request: _Request, bundle: Bundle, watch: Stopwatch, should_stop: StopCallback
) -> Report:
    watch.enter(Stage.READING)
    check_pair(check_header(request.t1w, role="T1w"), check_header(request.flair, role="FLAIR"))
    inputs = input_record(request.t1w, "T1w"), input_record(request.flair, "FLAIR")
    clear_artefacts(request.output)
    case = preprocess_case(
        read_volume(request.t1w, role="T1w"),
        read_volume(request.flair, role="FLAIR"),
        input_state=request.options.input_state,
        on_progress=watch.report,
        should_stop=should_stop,
    )
    watch.enter(Stage.QUALITY_CONTROL)
    trust = judge_input(case)
    quality = (*assess(case), trust_check(trust))
    if not request.options.ignore_quality_failures:
        require_passed(quality)
    ensemble = _Ensemble(request, bundle, case, watch, should_stop)
    run = ensemble.run()
    own = _lesion_mask(request.options, case, run)
    robustness = ensemble.robustness(own) if request.options.robustness else None
    watch.enter(Stage.MEASUREMENT)
    findings = _Findings(case, run, own, label_lesions(own), quality, trust, robustness)
    report = _report(request.options, bundle, findings)
    _write_images(request, bundle, findings)
    watch.enter(Stage.REPORTING)
    if should_stop():
        raise Cancelled("the case was cancelled before its report was written")
    _write_report(request.output, report, findings)
    watch.enter(Stage.DONE)
    _write_run_record(request, inputs, bundle, findings, watch)
    return report


class _Ensemble:
    """Runs the networks on one case, as it is and altered, as one stage that counts them all."""

    def __init__(
        self,
        request: _Request,
        bundle: Bundle,
        case: PreprocessedCase,
        watch: Stopwatch,
        should_stop: StopCallback,
    ) -> None:
        self._request, self._bundle, self._case = request, bundle, case
        self._watch, self._should_stop = watch, should_stop
        runs = 1 + len(ALTERATIONS) * request.options.robustness
        self._count = watch.networks(runs * NUM_NETWORKS)
        self._image = np.stack([case.t1w, case.flair])

    def run(self) -> EnsembleRun:
        """On the case as it is."""
        self._count(0)
        return self._run(self._image, self._request.votes, before=0)

    def robustness(self, own: Mask) -> Robustness:
        """On the case altered in each way; its own mask is for comparison."""
        runs = {}
        for n, alteration in enumerate(ALTERATIONS, 1):
            image = altered(self._image, self._case.brain_mask, alteration)
            votes = self._request.votes
            kept = None if votes is None else votes.with_stem(f"{votes.stem}-{alteration.name}")
            run = self._run(image, kept, before=n * NUM_NETWORKS)
            mask = _lesion_mask(self._request.options, self._case, run)
            runs[alteration.name] = mask, int(label_lesions(mask).max(initial=0))
        return summarise_runs(own, runs, voxel_mm3=patient_voxel_mm3(self._case.t1w_to_mni))

    def _run(self, image: Image, votes: Path | None, *, before: int) -> EnsembleRun:
        return run_ensemble(
            image,
            self._case.brain_mask,
            self._bundle,
            device=self._request.device,
            on_network=lambda done: self._count(before + done),
            should_stop=self._should_stop,
            votes=votes,
        )


def _lesion_mask(options: SegmentationOptions, case: PreprocessedCase, run: EnsembleRun) -> Mask:
    return lesion_mask(
        run.consensus,
        case.brain_mask,
        minimum_mm3=options.minimum_lesion_mm3,
        voxel_mm3=patient_voxel_mm3(case.t1w_to_mni),
    )


def _report(options: SegmentationOptions, bundle: Bundle, findings: _Findings) -> Report:
    measures = measure_case(
        findings.labels,
        _evidence(findings, options.input_state),
        minimum_mm3=options.minimum_lesion_mm3,
    )
    return Report(
        label=options.label,
        created=utc_now(),
        software_version=__version__,
        model=model_identity(bundle),
        options=options,
        totals=measures.totals,
        locations=measures.locations,
        location_rules=measures.rules,
        lesions=measures.lesions,
        quality=findings.quality,
        input_trust=findings.trust,
        robustness=findings.robustness,
    )


def _evidence(findings: _Findings, input_state: InputState) -> Evidence:
    case, consensus = findings.case, findings.run.consensus
    native = case.native_t1w
    return Evidence(
        t1w=case.t1w,
        flair=case.flair,
        brain_mask=case.brain_mask,
        probability=consensus.probability,
        votes=consensus.votes,
        coverage=consensus.coverage,
        t1w_to_mni=case.t1w_to_mni,
        flair_to_mni=case.flair_to_mni,
        native_t1w=native.grid,
        native_flair=case.native_flair.grid,
        brain_volume_ml=brain_volume_ml(native.brain_mask, native.grid),
        intracranial=intracranial_volume(native.brain_mask, native.grid, input_state=input_state),
    )


def _write_images(request: _Request, bundle: Bundle, findings: _Findings) -> None:
    case, consensus, folder = findings.case, findings.run.consensus, request.output
    images = (
        (artefacts.MASK_MNI, findings.mask, np.uint8),
        (artefacts.PROBABILITY_MNI, consensus.probability, np.float32),
        (artefacts.VOTES_MNI, consensus.votes, np.uint8),
        (artefacts.COVERAGE_MNI, consensus.coverage, np.uint8),
        (artefacts.LESION_LABELS_MNI, findings.labels, np.int32),
        (artefacts.PREPROCESSED_T1W, case.t1w, np.float32),
        (artefacts.PREPROCESSED_FLAIR, case.flair, np.float32),
        (artefacts.BRAIN_MASK_MNI, case.brain_mask, np.uint8),
    )
    for name, data, dtype in images:
        write_volume(folder / name, Volume(data, MNI_GRID.affine), dtype=dtype)
    natives = (
        (artefacts.MASK_T1W, request.t1w, case.native_t1w.grid, case.t1w_to_mni),
        (artefacts.MASK_FLAIR, request.flair, case.native_flair.grid, case.flair_to_mni),
    )
    for name, reference, grid, to_mni in natives:
        mask = native_mask(
            findings.mask,
            consensus.probability,
            grid,
            to_mni,
            threshold=bundle.manifest.vote_threshold,
        )
        write_like(folder / name, mask, reference, dtype=np.uint8)
    _write_brain(folder / artefacts.BRAIN_T1W, request.t1w, case.native_t1w, role="T1w")
    _write_brain(folder / artefacts.BRAIN_FLAIR, request.flair, case.native_flair, role="FLAIR")
    _write_transform(folder / artefacts.T1W_TO_MNI, case.t1w_to_mni)
    _write_transform(folder / artefacts.FLAIR_TO_T1W, case.flair_to_t1w)


def _write_brain(path: Path, scan: Path, native: NativeImage, *, role: str) -> None:
    """The input as it came, without the face: what a reader lays the native mask over."""
    brain = np.where(native.brain_mask, read_volume(scan, role=role).data, 0)
    write_like(path, brain, scan, dtype=np.float32, role=role)


def _write_transform(path: Path, transform: Affine) -> None:
    """Four rows of four numbers, world mm to world mm, RAS+."""
    rows = (" ".join(f"{value:.12g}" for value in row) for row in transform)
    write_text(path, "\n".join(rows) + "\n")


def _write_report(folder: Path, report: Report, findings: _Findings) -> None:
    consensus = findings.run.consensus
    write_report(
        folder,
        report,
        t1w=findings.case.t1w,
        flair=findings.case.flair,
        mask=findings.mask,
        labels=findings.labels,
        probability=consensus.probability,
        agreement=consensus.agreement,
        brain_mask=findings.case.brain_mask,
    )


def _write_run_record(
    request: _Request,
    inputs: tuple[InputRecord, InputRecord],
    bundle: Bundle,
    findings: _Findings,
    watch: Stopwatch,
) -> None:
    record = RunRecord(
        created=utc_now(),
        software_version=__version__,
        inputs=inputs,
        model=model_identity(bundle),
        options=request.options,
        vote_threshold=bundle.manifest.vote_threshold,
        tie_rule=TIE_RULE,
        convincing_share=float(CONVINCING_SHARE),
        device=request.device.value,
        num_threads=request.num_threads,
        library_versions=library_versions(),
        t1w_to_mni=findings.case.t1w_to_mni.tolist(),
        flair_to_t1w=findings.case.flair_to_t1w.tolist(),
        networks_run=findings.run.networks_run,
        networks_skipped=findings.run.networks_skipped,
        stage_wall_s={stage: round(s, 3) for stage, s in watch.wall_s.items()},
        stage_cpu_s={stage: round(s, 3) for stage, s in watch.cpu_s.items()},
        peak_memory_mb=round(peak_memory_mb(), 1),
    )
    write_text(request.output / artefacts.RUN_JSON, record.model_dump_json(indent=2) + "\n")
