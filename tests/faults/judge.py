"""Look at everything that a campaign left, and count."""

import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import nibabel as nib
import numpy as np

from dlb_core.artefacts import MASK_FLAIR, sha256_of
from dlb_core.client import DlbClient
from dlb_core.contracts import FINAL_STATES, JobState, Outcome
from dlb_core.errors import JobNotFound
from dlb_core.jobs.records import JobRecord
from dlb_core.jobs.store import JobStore
from tests.faults.campaign import Caused, Fault
from tests.faults.clients import Account, Seen
from tests.faults.system import ENDS, System
from tests.integration.job_harness import wait_until

EXPECTED_STATUSES = {200, 202, 206, 304, 408, 503, 507}
"""All that a client may hear in a campaign; 500 would be a fault of ours."""


@dataclass
class Verdict:
    """What was found; `complaints` must stay empty."""

    accepted: int = 0
    ends: "Counter[str]" = field(default_factory=Counter)
    codes: "Counter[str]" = field(default_factory=Counter)
    attempts: int = 0
    verified: int = 0
    """Successful jobs whose every file was downloaded and is what it should be."""
    lost: int = 0
    doubled: int = 0
    broken_off: int = 0
    statuses: "Counter[int]" = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)


def judge(system: System, accounts: list[Account], downloads: Path) -> Verdict:
    """Compare what clients were told, what the rows say, and what lies on the disk."""
    verdict = Verdict()
    with (
        JobStore.open(system.folder.database_url) as store,
        DlbClient(system.url, transport=Seen(verdict.statuses)) as client,
    ):
        for account in accounts:
            _judge_account(account, verdict, client, downloads, store)
        _judge_whole(accounts, verdict, store)
    _judge_changes(system, accounts, verdict)
    return verdict


def _judge_account(
    account: Account, verdict: Verdict, client: DlbClient, downloads: Path, store: JobStore
) -> None:
    """One client's story."""
    case = account.case
    verdict.statuses += account.statuses
    verdict.broken_off += account.broken_off
    verdict.complaints += [f"{case.key} ({case.manner}): {text}" for text in account.complaints]
    if account.job is None:
        return
    verdict.accepted += 1
    job = store.get(account.job)
    verdict.ends[job.state] += 1
    verdict.attempts += len(job.log)
    if job.error_code is not None:
        verdict.codes[job.error_code] += 1
    faults = [
        *_faults_of_row(account, job),
        *([] if client.get(job.id).state is job.state else ["told another state"]),
    ]
    if job.state is JobState.SUCCESSFUL:
        faults += _faults_of_results(account, job, client, downloads / case.key)
        verdict.verified += not faults
    verdict.complaints += [f"{case.key} ({case.manner}): {fault}" for fault in faults]


def _faults_of_row(account: Account, job: JobRecord) -> list[str]:
    faults = []
    if job.state not in FINAL_STATES:
        faults.append(f"never ended: {job.state}")
    if account.state is not job.state:
        faults.append(f"its client saw it end as {account.state}, now it is {job.state}")
    if not account.case.allows(job.state, job.error_code):
        faults.append(f"ended as {job.state}, {job.error_code}: {job.error_message}")
    good = [attempt.fence for attempt in job.log if attempt.outcome is Outcome.SUCCESSFUL]
    if good != ([job.fence] if job.state is JobState.SUCCESSFUL else []):
        faults.append(f"attempts {good} succeeded; the job is {job.state} at {job.fence}")
    return faults


def _faults_of_results(
    account: Account, job: JobRecord, client: DlbClient, folder: Path
) -> list[str]:
    """Fetch every file, and look whether it is this case's, whole, and as listed."""
    paths = {path.name: path for path in client.download(job.id, folder)}
    faults = [
        f"{entry.name} is not as listed"
        for entry in job.artefacts
        if sha256_of(paths[entry.name]) != entry.sha256
    ]
    image = nib.Nifti1Image.from_filename(paths[MASK_FLAIR])
    voxels = int(np.asanyarray(image.dataobj).sum())
    if voxels != account.case.voxels:
        faults.append(f"the mask has {voxels} voxels, not {account.case.voxels}")
    return faults


def _judge_whole(accounts: list[Account], verdict: Verdict, store: JobStore) -> None:
    """As many jobs as cases, and no others."""
    rows, cursor = store.list_jobs(limit=100)
    while cursor is not None:
        page, cursor = store.list_jobs(limit=100, before=cursor)
        rows += page
    known = {account.job for account in accounts if account.job is not None}
    there = {row.id for row in rows}
    verdict.lost = len(known - there)
    verdict.doubled = len(there - known) + len(rows) - len(there)


def _judge_changes(system: System, accounts: list[Account], verdict: Verdict) -> None:
    """What the database noted: each job came to an end once, and never left it."""
    connection = sqlite3.connect(system.folder.database, timeout=20)
    changes = connection.execute(f"SELECT job, old, new FROM {ENDS}").fetchall()  # noqa: S608  # ours
    connection.close()
    ended = Counter(UUID(job) for job, _, new in changes if new in FINAL_STATES)
    left = [UUID(job) for job, old, _ in changes if old in FINAL_STATES]
    for account in accounts:
        if account.job is not None and ended[account.job] != 1:
            verdict.complaints.append(f"{account.case.key}: ended {ended[account.job]} times")
    verdict.complaints += [f"{job}: left its end" for job in left]


def unexpected_statuses(verdict: Verdict) -> dict[int, int]:
    """Answers that nobody should have got."""
    return {
        status: count
        for status, count in verdict.statuses.items()
        if status not in EXPECTED_STATUSES
    }


def wait_until_tidy(system: System) -> None:
    """No upload, image or attempt is left that nobody needs, two hours later."""
    with JobStore.open(system.folder.database_url) as store:
        wait_until(lambda: not litter(system, store), describe=lambda: str(litter(system, store)))


def litter(system: System, store: JobStore) -> list[str]:
    """What lies in the data folder and should not."""
    found = [str(path) for path in system.folder.staging.iterdir()]
    for folder in system.folder.jobs.iterdir():
        there = {str(path.relative_to(folder)) for path in folder.glob("*/*")}
        found += [f"{folder.name}/{name}" for name in there - _may_stay(folder, store)]
    return found


def _may_stay(folder: Path, store: JobStore) -> set[str]:
    """Of a job's folder; nothing of one whose submission was killed before it had a row."""
    try:
        job = store.get(UUID(folder.name))
    except JobNotFound:
        return set()
    if job.state is JobState.SUCCESSFUL:
        return {f"attempts/{job.fence}"}
    return {"inputs/T1w.nii.gz", "inputs/FLAIR.nii.gz"} if job.keep_inputs else set()


def table(verdict: Verdict, caused: Caused, system: System, *, seconds: float) -> str:
    """The counts, to be read and to be copied."""
    others = Counter(death.status for death in system.deaths if death.status != -9)
    answers = [f"{count} x {status}" for status, count in sorted(verdict.statuses.items())]
    lines = [
        ("jobs accepted", verdict.accepted),
        *((f"  ended {state}", count) for state, count in sorted(verdict.ends.items())),
        *((f"    with {code}", count) for code, count in sorted(verdict.codes.items())),
        ("attempts", verdict.attempts),
        ("successful, every file verified", verdict.verified),
        ("lost", verdict.lost),
        ("doubled", verdict.doubled),
        ("uploads broken off", verdict.broken_off),
        *((f"fault: {fault}", caused.faults[fault]) for fault in Fault),
        ("hints waiting as brokers were killed", caused.hints_before),
        ("  still waiting when they were back", caused.hints_after),
        ("answers", ", ".join(answers)),
        ("processes that ended by themselves", dict(others) or 0),
        ("seconds", round(seconds)),
    ]
    return "\n".join(f"{name:<45} {value}" for name, value in lines)
