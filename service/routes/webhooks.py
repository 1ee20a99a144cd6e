"""Webhooks: who is told of ends, what was sent, and sending it again."""

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Query, Request, Response

from dlb_core.documents import (
    API,
    MessageAttempt,
    MessageDocument,
    MessageList,
    MessageState,
    WebhookDocument,
    WebhookEvent,
    WebhookList,
    WebhookRequest,
    WebhookWithSecret,
)
from dlb_core.errors import (
    BadOption,
    MessageNotFound,
    StoreUnavailable,
    UploadStalled,
    UploadTooLarge,
    WebhookNotFound,
)
from dlb_core.jobs.webhooks.records import MessageRecord, WebhookRecord
from service.bodies import described, read_document
from service.callers import CallerDep
from service.dependencies import ServicesDep, WebhooksDep
from service.errors import describe
from service.lanes import Lane

router = APIRouter(prefix=f"{API}/webhooks", tags=["webhooks"])

LOCATION = {"Location": {"description": "path of the webhook", "schema": {"type": "string"}}}
NOT_FOUND = describe(WebhookNotFound, StoreUnavailable)
RESOLVING = Lane("resolving", 4)
"""Threads in which names of hosts are looked up."""


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    response_model=WebhookWithSecret,
    openapi_extra=described(WebhookRequest),
    responses={
        201: {"description": "The webhook, with the secret that signs", "headers": LOCATION},
        **describe(BadOption, UploadTooLarge, UploadStalled, StoreUnavailable),
    },
)
async def make_webhook(request: Request, services: ServicesDep, caller: CallerDep) -> Response:
    """Tell an address of jobs' and comparisons' ends; the secret that signs is shown this once."""
    idle_s = services.settings.upload_idle_s
    wanted = await read_document(request, WebhookRequest, idle_s=idle_s)
    events = tuple(WebhookEvent(event) for event in dict.fromkeys(wanted.events))

    # Looking the name up may take long, as long as its owner wishes: nobody else must wait for it.
    await run_sync(
        services.settings.webhook_policy.check_url, wanted.url, limiter=RESOLVING.limiter()
    )

    def create() -> tuple[WebhookRecord, str]:
        return services.webhooks.create(wanted.url, events, owner=caller.owner, sees=caller.sees)

    record, secret = await run_sync(create)
    document = _with_secret(record, secret)
    return Response(
        document.model_dump_json(),
        status_code=HTTPStatus.CREATED,
        media_type="application/json",
        headers={"Location": document.href},
    )


@router.get("", responses=describe(StoreUnavailable))
def list_webhooks(webhooks: WebhooksDep, caller: CallerDep) -> WebhookList:
    """List webhooks, oldest first."""
    return WebhookList(
        webhooks=tuple(_document(record) for record in webhooks.all(sees=caller.sees))
    )


@router.get("/{webhook_id}", responses=NOT_FOUND)
def read_webhook(webhook_id: UUID, webhooks: WebhooksDep, caller: CallerDep) -> WebhookDocument:
    """Describe a webhook."""
    return _document(webhooks.get(webhook_id, sees=caller.sees))


@router.delete("/{webhook_id}", status_code=HTTPStatus.NO_CONTENT, responses=NOT_FOUND)
def forget_webhook(webhook_id: UUID, webhooks: WebhooksDep, caller: CallerDep) -> Response:
    """Forget a webhook, with its messages: nothing is sent to it any more."""
    webhooks.remove(webhook_id, sees=caller.sees)
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.post("/{webhook_id}/rotate", responses=NOT_FOUND)
def rotate_secret(webhook_id: UUID, webhooks: WebhooksDep, caller: CallerDep) -> WebhookWithSecret:
    """Give it a new secret; for a day the one before signs too. A disabled webhook is enabled."""
    record, secret = webhooks.rotate(webhook_id, sees=caller.sees)
    return _with_secret(record, secret)


@router.post("/{webhook_id}/test", status_code=HTTPStatus.ACCEPTED, responses=NOT_FOUND)
def send_test(webhook_id: UUID, services: ServicesDep, caller: CallerDep) -> MessageDocument:
    """Send it a message of the type `webhook.test`."""
    message = services.webhooks.send_test(webhook_id, sees=caller.sees)
    services.courier.wake()
    return _message(webhook_id, message)


@router.get("/{webhook_id}/messages", responses=NOT_FOUND)
def list_messages(
    webhook_id: UUID,
    webhooks: WebhooksDep,
    caller: CallerDep,
    state: Annotated[MessageState | None, Query(description="only messages in this state")] = None,
    limit: Annotated[int, Query(ge=1, le=500, description="how many")] = 100,
) -> MessageList:
    """Give the delivery log, newest first."""
    found = webhooks.messages(webhook_id, sees=caller.sees, state=state, limit=limit)
    return MessageList(messages=tuple(_message(webhook_id, message) for message in found))


@router.post(
    "/{webhook_id}/messages/{message_id}/replay",
    status_code=HTTPStatus.ACCEPTED,
    responses=describe(WebhookNotFound, MessageNotFound, StoreUnavailable),
)
def replay_message(
    webhook_id: UUID,
    message_id: Annotated[str, Path(max_length=40)],
    services: ServicesDep,
    caller: CallerDep,
) -> MessageDocument:
    """Send a message again, whatever became of it, under its old id."""
    message = services.webhooks.replay(webhook_id, message_id, sees=caller.sees)
    services.courier.wake()
    return _message(webhook_id, message)


def _path(webhook_id: UUID) -> str:
    return f"{API}/webhooks/{webhook_id}"


def _document(record: WebhookRecord) -> WebhookDocument:
    path = _path(record.id)
    return WebhookDocument(
        id=record.id,
        url=record.url,
        events=tuple(event.value for event in record.events),
        created=record.created,
        disabled=record.disabled,
        live_secrets=record.live_secrets,
        href=path,
        messages=f"{path}/messages",
    )


def _with_secret(record: WebhookRecord, secret: str) -> WebhookWithSecret:
    return WebhookWithSecret(**_document(record).model_dump(), secret=secret)


def _message(webhook_id: UUID, record: MessageRecord) -> MessageDocument:
    return MessageDocument(
        id=record.id,
        event=record.event.value,
        job=record.job_id,
        comparison=record.comparison_id,
        state=record.state,
        attempts=record.attempts,
        created=record.created,
        next_try=record.next_try,
        log=tuple(
            MessageAttempt(
                at=attempt.at,
                duration_s=attempt.duration_s,
                status=attempt.status,
                error=attempt.error,
            )
            for attempt in record.log
        ),
        replay=f"{_path(webhook_id)}/messages/{record.id}/replay",
    )
