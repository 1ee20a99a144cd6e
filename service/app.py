"""The HTTP service: upload a pair of scans, watch the job, fetch what came out."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

from anyio.to_thread import run_sync
from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from pydantic.json_schema import models_json_schema

import dlb_core
from dlb_core.contracts import SegmentationOptions
from dlb_core.dicom.wishes import NamedSeries
from dlb_core.documents import API, BatchRequest, Problem, WebhookRequest
from dlb_core.errors import InputError, TransientError
from dlb_core.jobs.comparisons.leftovers import sweep_comparisons
from dlb_core.jobs.drafts import sweep_drafts
from dlb_core.jobs.retention import FOR_EVER
from dlb_core.jobs.store import utc_now
from dlb_core.longitudinal.requests import ComparisonChoices, ComparisonRequest
from dlb_core.pacs.documents import DeliveryRequest, PullRequest
from dlb_core.report.document import RESEARCH_USE
from service import errors
from service.audit import Audit
from service.dependencies import Services, open_services, require_own_job
from service.figures import Figures
from service.guard import Guard
from service.intake import ABANDONED_AFTER_S, sweep
from service.request_times import RequestTimes
from service.routes import (
    artefacts,
    batches,
    comparisons,
    control,
    corrections,
    events,
    health,
    jobs,
    metrics,
    models,
    pacs,
    webhooks,
)
from service.security_headers import SecurityHeaders
from service.security_scheme import secure
from service.settings import ServiceSettings
from service.traces import Traces, is_quiet
from service.viewer import pages

SWEEP_EVERY_S = 1800.0
ROUTERS = [
    module.router
    for module in (
        jobs,
        control,
        events,
        artefacts,
        corrections,
        batches,
        comparisons,
        pacs,
        webhooks,
        models,
        health,
        metrics,
    )
]
DESCRIPTION = f"""\
Multiple sclerosis lesion segmentation from one T1w and one FLAIR image: submit a pair, watch the
job, fetch lesion masks and a report. {RESEARCH_USE}

Errors are RFC 9457 problem documents; act on their `code`.
"""

logger = logging.getLogger(__name__)


def create_app(settings: ServiceSettings) -> FastAPI:
    """Build the app; what it needs is opened when it starts and closed when it stops.

    Parameters
    ----------
    settings : ServiceSettings
        Where data, database, broker and weights are.
    """

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        services = await run_sync(open_services, settings)
        app.state.services = services
        figures = Figures(services)
        registry.register(figures)
        sweeper = asyncio.create_task(_keep_swept(services))
        try:
            yield
        finally:
            registry.unregister(figures)
            sweeper.cancel()
            with suppress(asyncio.CancelledError):
                await sweeper
            await services.feed.close()
            await services.comparison_feed.close()
            await run_sync(services.close)

    app = FastAPI(
        title="DeepLesionBrain Service",
        description=DESCRIPTION,
        version=dlb_core.__version__,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        # To where a redirection leads, whoever sent scans would send them again: behind a proxy
        # perhaps without TLS.
        redirect_slashes=False,
        openapi_url=f"{API}/openapi.json",
        telemetry={"metrics": False, "logs": False, "operation_spans": False, "exclude": is_quiet},
        # Their pages load scripts from elsewhere; the service must work without a network.
        docs_url=None,
        redoc_url=None,
    )
    for router in ROUTERS:
        app.include_router(router, dependencies=[Depends(require_own_job)])
    app.include_router(pages.router)
    errors.install(app, [route for router in (*ROUTERS, pages.router) for route in router.routes])
    # The last one is the outermost: what the guard refuses is logged too.
    for layer in (Guard, Audit, SecurityHeaders):
        app.add_middleware(layer)
    app.add_middleware(RequestTimes, registry=registry)
    app.add_middleware(Traces)
    app.state.registry = registry
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]  # FastAPI's own way to extend it
    return app


async def _keep_swept(services: Services) -> None:
    """Remove what crashes left, at once and then now and again."""
    while True:
        try:
            removed = await run_sync(_sweep, services)
            await run_sync(_forget_old, services)
        except TransientError as error:
            logger.warning("sweep_interrupted", extra={"cause": str(error)})
        else:
            logger.info("swept", extra={"folders": removed})
        await asyncio.sleep(SWEEP_EVERY_S)


def _sweep(services: Services) -> int:
    """Remove folders that nobody will ask for; returns how many."""
    data, age_s = services.data, ABANDONED_AFTER_S
    swept = sweep(data, services.store, older_than_s=age_s)
    swept += sweep_drafts(data, older_than_s=age_s)
    return swept + sweep_comparisons(data, services.comparisons, older_than_s=age_s)


def _forget_old(services: Services) -> None:
    """Remove batches none of whose jobs is listed any more, and old messages."""
    settings, now = services.settings, utc_now()
    if settings.keep_rows_days != FOR_EVER:
        services.batches.forget(now - timedelta(days=settings.keep_rows_days))
    if settings.keep_messages_days != FOR_EVER:
        services.webhooks.forget(now - timedelta(days=settings.keep_messages_days))


def _openapi(app: FastAPI) -> dict[str, Any]:
    """Generate the OpenAPI document, with the schemas that only our own text refers to."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title,
            version=app.version,
            description=app.description,
            license_info=app.license_info,
            routes=app.routes,
        )
        _, extra = models_json_schema(
            [
                (SegmentationOptions, "validation"),
                (NamedSeries, "validation"),
                (BatchRequest, "validation"),
                (ComparisonRequest, "validation"),
                (ComparisonChoices, "validation"),
                (DeliveryRequest, "validation"),
                (PullRequest, "validation"),
                (WebhookRequest, "validation"),
                (Problem, "serialization"),
            ],
            ref_template="#/components/schemas/{model}",
        )
        components = schema["components"]["schemas"]
        for name, definition in extra["$defs"].items():
            components.setdefault(name, definition)
        app.openapi_schema = secure(_without_framework_errors(schema))
    return app.openapi_schema


def _without_framework_errors(schema: dict[str, Any]) -> dict[str, Any]:
    """Describe 422 as the problem document we answer, not as the framework's own."""
    problem = errors.describe(InputError)[422]
    for operations in schema["paths"].values():
        for operation in operations.values():
            answer = operation["responses"].get("422")
            if answer and "application/json" in answer["content"]:
                operation["responses"]["422"] = problem | {
                    "description": "Problem: invalid-request"
                }
    for name in ("HTTPValidationError", "ValidationError"):
        schema["components"]["schemas"].pop(name, None)
    return schema
