"""The job store: every change to a job is one guarded UPDATE on its row.

A worker may write only with the fence of the last claim, and only while the job runs; so of
two workers that believe they own a job (one was frozen, its lease ended, another took over)
exactly one can publish. The broker's messages are hints and may be lost or doubled.

    accepted --claim--> running --finish--> successful --time over--> successful, expired
     ^  ^                |  |  `--fail----> failed
     |  `- lease ended --'  `--dismiss----> dismissed   (accepted jobs: at once)
     `----------------------retry---------- failed, dismissed
"""

from dlb_core.jobs.store.claims import Claims
from dlb_core.jobs.store.dispatch import Dispatching
from dlb_core.jobs.store.expiry import Expiry
from dlb_core.jobs.store.requests import Requests
from dlb_core.jobs.store.sessions import Clock, utc_now
from dlb_core.jobs.store.workers import Workers

__all__ = ["MAX_ATTEMPTS", "Clock", "JobStore", "utc_now"]

MAX_ATTEMPTS = 3
"""Attempts a job gets when its workers die, unless told otherwise."""


class JobStore(Requests, Claims, Dispatching, Expiry, Workers):
    """Jobs and workers in SQL. Safe to share between threads.

    Every method raises `StoreUnavailable` where the database does not answer.
    """
