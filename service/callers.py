"""Who sends a request, and whose jobs they see."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from pydantic import TypeAdapter, ValidationError

from dlb_core.errors import JobNotFound
from dlb_core.jobs.keys import KeyStore, Role

_JOB_ID = TypeAdapter(UUID)
"""Reads a job's id as the routes do, so that none can be written in a way that only they read."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request."""

    id: str
    """Names them in the audit log."""
    owner: str | None
    """Whose the jobs are that they submit; None: nobody's."""
    role: Role

    @property
    def sees(self) -> str | None:
        """The owner whose jobs they see; None: everybody's."""
        return None if self.role is Role.ADMIN else self.owner


ANONYMOUS = Caller("anonymous", None, Role.ADMIN)
"""Whoever it is, where nobody is asked who they are."""


def caller_of(request: Request) -> Caller:
    """Who sends this request; `Guard` has found out."""
    caller = request.state.caller
    assert isinstance(caller, Caller)
    return caller


CallerDep = Annotated[Caller, Depends(caller_of)]


def require_own_job(request: Request) -> None:
    """Let nobody know of another's job: it is answered as one that does not exist.

    For every route whose path names a job; the others pass.

    Raises
    ------
    JobNotFound
        The job in the path is another's, or there is none.
    """
    if "job_id" not in request.path_params:
        return
    caller = caller_of(request)
    if caller.sees is None:
        return
    try:
        job_id = _JOB_ID.validate_python(request.path_params["job_id"])
    except ValidationError:
        # The route refuses it in its own words.
        return
    keys = request.app.state.services.gate.keys
    assert isinstance(keys, KeyStore)
    if keys.owner_of_job(job_id) != caller.sees:
        raise JobNotFound("no such job: it never was, or it was removed")
