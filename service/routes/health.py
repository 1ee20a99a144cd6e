"""Is the process alive; can it do its work."""

from collections.abc import Callable
from http import HTTPStatus

from anyio.to_thread import run_sync
from fastapi import APIRouter, Response

from dlb_core.documents import Health, HealthCheck, HealthDocument
from dlb_core.errors import DlbError, TransientError
from service.dependencies import Services, ServicesDep
from service.lanes import Lane
from service.space import require_space

router = APIRouter(prefix="/health", tags=["health"])

CHECKING = Lane("checking", 2)
"""Threads in which checks are made: anyone may ask for them, and what is away is waited for."""


@router.head("/live", include_in_schema=False)
@router.get("/live")
async def live() -> HealthDocument:
    """Say that the process answers; nothing else is looked at."""
    # No thread of its own: all of them may wait for a database or a bucket.
    return HealthDocument(status=Health.OK)


@router.head("/ready", include_in_schema=False)
@router.get(
    "/ready",
    responses={503: {"model": HealthDocument, "description": "A check has failed"}},
)
async def ready(services: ServicesDep, response: Response) -> HealthDocument:
    """Check all that the service needs.

    Without broker or worker the service is `degraded` but ready: jobs are accepted, kept in the
    database, and done when these come back. Without database, disk space, weights or its
    bucket it is not ready.
    """
    checks = await run_sync(check_all, services, limiter=CHECKING.limiter())
    found = {check.status for check in checks}
    status = next(level for level in (Health.FAILED, Health.DEGRADED, Health.OK) if level in found)
    if status is Health.FAILED:
        response.status_code = HTTPStatus.SERVICE_UNAVAILABLE
    return HealthDocument(status=status, checks=checks)


def check_all(services: Services) -> tuple[HealthCheck, ...]:
    """Look at each thing that the service needs."""
    needed = NEEDED if services.data.is_shared else (*NEEDED, BUCKET)
    return tuple(_check(services, *each) for each in needed)


def _check(
    services: Services, name: str, examine: Callable[[Services], str], otherwise: Health
) -> HealthCheck:
    """Run one check; what it raises becomes its detail."""
    try:
        return HealthCheck(name=name, status=Health.OK, detail=examine(services))
    except DlbError as error:
        return HealthCheck(name=name, status=otherwise, detail=str(error))


def _database(services: Services) -> str:
    counts = services.store.counts_by_state()
    return ", ".join(f"{count} {state}" for state, count in counts.items())


def _disk(services: Services) -> str:
    require_space(services.data.root, needed=0, spare=services.settings.min_free_bytes)
    return f"at least {services.settings.min_free_mb} MiB free"


def _weights(services: Services) -> str:
    bundles = services.bundles
    services.weights.check()
    # All that is served of a bundle is read, its card too.
    return ", ".join(bundles.document(summary.id).id for summary in bundles.summaries())


def _broker(services: Services) -> str:
    services.queue.ping()
    return "answers"


def _worker(services: Services) -> str:
    within_s = services.settings.worker_seen_s
    alive = services.store.workers_alive(within_s)
    if alive == 0:
        raise TransientError(f"no worker was heard of for {within_s:g} s: jobs wait for one")
    return f"{alive} alive"


def _bucket(services: Services) -> str:
    services.data.check()
    return "answers"


Check = tuple[str, Callable[[Services], str], Health]

NEEDED: tuple[Check, ...] = (
    ("database", _database, Health.FAILED),
    ("disk", _disk, Health.FAILED),
    ("weights", _weights, Health.FAILED),
    ("broker", _broker, Health.DEGRADED),
    ("worker", _worker, Health.DEGRADED),
)
"""Name, check, and what its failing means for the service."""

BUCKET: Check = ("bucket", _bucket, Health.FAILED)
"""Where there is one."""
