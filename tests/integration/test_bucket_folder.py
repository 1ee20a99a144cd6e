"""What a bucket keeps is what was put there, each thing once, and nothing that nobody wants."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from job_harness import write_image
from s3_server import BUCKET, S3Server, s3_server

from dlb_core import artefacts
from dlb_core.artefacts import list_artefacts, sha256_of, write_text
from dlb_core.contracts import ArtefactEntry, JobState, SegmentationOptions
from dlb_core.corrections import VersionRecord, write_record
from dlb_core.errors import BadOption, CorrectionsExist, FileAltered
from dlb_core.jobs.bucket import Bucket
from dlb_core.jobs.bucket_folder import BucketFolder, open_folder
from dlb_core.jobs.comparisons.dispatcher import attempt_folder
from dlb_core.jobs.comparisons.leftovers import sweep_comparisons
from dlb_core.jobs.comparisons.store import ComparisonStore
from dlb_core.jobs.database import open_engine
from dlb_core.jobs.leftovers import remove_leftovers, remove_scratch
from dlb_core.jobs.results import bring_bench, bring_newest, file_of, keep_version, versions_of
from dlb_core.jobs.store import JobStore
from dlb_core.report.document import Correction
from dlb_core.versions import version_folder
from service.intake import sweep
from tests.unit.plain_report import plain_report
from worker.attempt import run_job
from worker.settings import WorkerSettings


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def bucket_url(s3: S3Server) -> str:
    """A prefix of the test's own."""
    return f"s3://{BUCKET}/{uuid4()}"


@pytest.fixture
def folder(bucket_url: str, tmp_path: Path) -> BucketFolder:
    """One machine's."""
    folder = open_folder(tmp_path / "data", bucket_url)
    assert isinstance(folder, BucketFolder)
    folder.create()
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    with JobStore.open(f"sqlite:///{tmp_path / 'jobs.sqlite'}") as store:
        yield store


def keys(folder: BucketFolder) -> list[str]:
    """All that lies in the folder's part of the bucket."""
    return [found.key for found in folder.bucket.listed("")]


def taken_in(folder: BucketFolder, job_id: UUID) -> None:
    """Keep a small pair."""
    staged = folder.staging / str(job_id)
    staged.mkdir()
    for role in ("T1w", "FLAIR"):
        write_image(staged / f"{role}.nii.gz", (12, 12, 12))
    folder.take_in(job_id, staged)
    shutil.rmtree(staged)


def test_inputs_that_were_altered_are_not_worked_on(folder: BucketFolder, tmp_path: Path) -> None:
    """A mask of another's brain is worse than none."""
    job_id = uuid4()
    taken_in(folder, job_id)
    brought = folder.bring_inputs(job_id, tmp_path)
    assert {path.name for path in brought.iterdir()} == {"T1w.nii.gz", "FLAIR.nii.gz"}

    folder.bucket.put(f"jobs/{job_id}/inputs/FLAIR.nii.gz", b"another's")

    with pytest.raises(FileAltered, match=r"FLAIR\.nii\.gz in the bucket .* restore it"):
        folder.bring_inputs(job_id, tmp_path)


def test_a_job_whose_inputs_were_altered_ends_at_once(
    folder: BucketFolder, store: JobStore, bucket_url: str
) -> None:
    """They stay as they are: neither patience nor another attempt mends them."""
    job_id = uuid4()
    taken_in(folder, job_id)
    folder.bucket.put(f"jobs/{job_id}/inputs/T1w.nii.gz", b"another's")
    store.insert(job_id, SegmentationOptions(), {})
    settings = WorkerSettings(data=folder.root, bucket=bucket_url, poll_s=0.01)

    run_job(job_id, store=store, settings=settings, worker_id="w")

    job = store.get(job_id)
    assert (job.state, job.error_code, job.attempts) == (JobState.FAILED, "file-altered", 1)


class Hurried(Bucket):
    """Brings half of the first file."""

    files = 0

    def fetch(self, key: str, path: Path) -> None:
        super().fetch(key, path)
        self.files += 1
        if self.files == 1:
            path.write_bytes(path.read_bytes()[:10])


def test_a_download_that_was_damaged_on_its_way_is_made_again(
    folder: BucketFolder, bucket_url: str, tmp_path: Path
) -> None:
    """It is the way's fault, and must not end a job."""
    job_id = uuid4()
    taken_in(folder, job_id)
    bucket = Hurried(bucket_url)

    BucketFolder(folder.root, bucket).bring_inputs(job_id, tmp_path)

    assert bucket.files == 3


def test_a_file_of_several_parts_comes_back_whole(folder: BucketFolder, tmp_path: Path) -> None:
    """Large files go up in parts and come down in ranges."""
    place = folder.attempt(uuid4(), 1)
    place.mkdir(parents=True)
    (place / "big").write_bytes(bytes(range(256)) * 4 * 6000)
    folder.hand_over(place, ["big"])

    copy = folder.bring_file(place / "big", tmp_path / "copy", sha256_of(place / "big"))

    assert copy.read_bytes() == (place / "big").read_bytes()


def finished(folder: BucketFolder) -> tuple[Path, list[ArtefactEntry]]:
    """Place and files of some results that came as DICOM."""
    results = folder.attempt(uuid4(), 1)
    results.mkdir(parents=True)
    write_text(results / artefacts.REPORT_HTML, "version 1")
    write_text(results / artefacts.DICOM_SEG, "version 1")
    write_text(results / artefacts.DICOM_KEPT, "{}")
    entries = list_artefacts(results)
    folder.hand_over(results, [path.name for path in results.iterdir()])
    shutil.rmtree(results)
    return results, entries


def version_on(bench: Path, text: str) -> VersionRecord:
    """Version 2, as a correction leaves it."""
    made = version_folder(bench, 2)
    made.mkdir(parents=True)
    write_text(made / artefacts.DICOM_SEG, text)
    correction = Correction(
        version=2,
        created="2026-01-01T00:00:00+00:00",
        author="",
        note="",
        space="FLAIR",
        mask_sha256="0" * 64,
        added_ml=0.0,
        removed_ml=0.0,
        lesion_count_before=1,
        lesion_volume_before_ml=1.0,
    )
    report = plain_report(SegmentationOptions()).model_copy(update={"corrections": (correction,)})
    write_record(made, report)
    return VersionRecord.model_validate_json((made / ".version.json").read_bytes())


def test_the_first_of_two_corrections_wins_and_stays_whole(
    folder: BucketFolder, tmp_path: Path
) -> None:
    """Two APIs may make version 2 at the same moment; no reader may see a mixture."""
    results, entries = finished(folder)
    benches = [bring_bench(folder, results, entries, tmp_path / name) for name in "ab"]
    assert (benches[0] / artefacts.DICOM_KEPT).exists()
    first, second = (version_on(bench, bench.name) for bench in benches)

    keep_version(folder, results, benches[0], first)
    with pytest.raises(CorrectionsExist):
        keep_version(folder, results, benches[1], second)

    assert versions_of(folder, results) == (first,)
    (entry,) = first.artefacts
    assert folder.read(file_of(folder, results, 2, entry)) == b"a"
    newest = bring_newest(folder, results, [artefacts.DICOM_SEG], tmp_path)
    assert [path.read_text() for path in newest] == ["a"]
    again = bring_bench(folder, results, entries, tmp_path / "again")
    assert (version_folder(again, 2) / artefacts.DICOM_SEG).read_text() == "a"
    assert folder.read(file_of(folder, results, 1, entries[0])) == b"version 1"


def test_what_no_row_promises_is_swept_from_the_bucket(
    folder: BucketFolder, store: JobStore, tmp_path: Path
) -> None:
    """An API that died between upload and row must not leave scans behind."""
    promised, lost = uuid4(), uuid4()
    for job_id in (promised, lost):
        taken_in(folder, job_id)
    store.insert(promised, SegmentationOptions(), {})
    place = attempt_folder(folder, uuid4(), 1)
    folder.bucket.put(place.relative_to(folder.root).as_posix() + "/a", b"")
    comparisons = ComparisonStore(open_engine(f"sqlite:///{tmp_path / 'jobs.sqlite'}"))

    assert sweep(folder, store, older_than_s=3600) == 0
    swept = sweep(folder, store, older_than_s=0)
    swept += sweep_comparisons(folder, comparisons, older_than_s=0)

    assert swept == 2
    assert {key.split("/")[1] for key in keys(folder)} == {str(promised)}


def test_a_killed_workers_scratch_goes_and_a_living_ones_stays(
    folder: BucketFolder, store: JobStore
) -> None:
    """Nobody else looks at a worker's own disk; scans of the dead must not pile up there."""
    ended, running = uuid4(), uuid4()
    for job_id in (ended, running):
        store.insert(job_id, SegmentationOptions(), {})
        claim = store.claim(job_id, 60.0)
        assert claim is not None
        folder.attempt(job_id, claim.fence).mkdir(parents=True)
        if job_id == ended:
            store.fail(claim, "stage-failed", "")
    folder.votes(ended).parent.mkdir()

    remove_scratch(store, folder)

    assert [path.name for path in folder.jobs.iterdir()] == [str(running)]
    assert folder.attempt(running, 1).exists()


@pytest.mark.parametrize("marker", ["jobs/", "jobs/{job_id}/", "comparisons/"])
def test_folders_made_by_a_buckets_console_disturb_nobody(
    folder: BucketFolder, store: JobStore, s3: S3Server, marker: str
) -> None:
    """One such object must not end every clean-up to come."""
    ended = uuid4()
    taken_in(folder, ended)
    store.insert(ended, SegmentationOptions(), {})
    store.request_cancel(ended)
    (prefix,) = {key.partition("/")[0] for key in s3.keys("") if str(ended) in key}
    url = f"{s3.url}/{BUCKET}/{prefix}/{marker.format(job_id=ended)}"
    httpx.put(url, content=b"", trust_env=False, timeout=60).raise_for_status()

    remove_leftovers(store, folder)

    assert not any("/inputs/" in key for key in keys(folder))
    assert sweep(folder, store, older_than_s=0) == 0


@pytest.mark.parametrize("url", ["gs://a", "s3://", "s3://a b", "s3://a/b//c", "s3://a/../b"])
def test_a_url_that_cannot_be_a_buckets_is_refused_in_words(tmp_path: Path, url: str) -> None:
    """The library's own answer to some of these is a crash."""
    with pytest.raises(BadOption, match="DLB_BUCKET"):
        open_folder(tmp_path, url)


def test_looking_at_the_start_leaves_nothing_behind(folder: BucketFolder) -> None:
    """Credentials that may only read are found out by writing, not by the first upload."""
    folder.check(by_writing=True)

    assert keys(folder) == []
