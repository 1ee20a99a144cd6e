"""Who sends a request, and whose jobs they see."""

from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from pydantic import TypeAdapter, ValidationError

from dlb_core.contracts import Role

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


def job_named(request: Request) -> UUID | None:
    """The job that the path names; None: it names none, or in no way that the routes read."""
    try:
        return _JOB_ID.validate_python(request.path_params["job_id"])
    except (KeyError, ValidationError):
        return None
