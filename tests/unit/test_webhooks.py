"""Webhooks: signed, sent until they are heard, never to where they must not go."""

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine
from standardwebhooks import Webhook

from dlb_core.contracts import JobState, SegmentationOptions
from dlb_core.documents import MessageState, WebhookEvent
from dlb_core.errors import BadOption
from dlb_core.jobs.comparisons.store import ComparisonStore
from dlb_core.jobs.database import open_engine
from dlb_core.jobs.endings import Endings
from dlb_core.jobs.store import JobStore
from dlb_core.jobs.webhooks.addresses import AddressPolicy, is_public
from dlb_core.jobs.webhooks.courier import PAUSES_S, Courier, signed_headers
from dlb_core.jobs.webhooks.messages import message_row
from dlb_core.jobs.webhooks.records import Outgoing, WebhookRecord
from dlb_core.jobs.webhooks.store import WebhookStore
from dlb_core.jobs.webhooks.tables import WebhookRow
from tests.unit.databases import fresh_database
from tests.unit.webhook_kit import LOOPBACK, Receiver, receiver

ENDS = (WebhookEvent.SUCCESSFUL, WebhookEvent.FAILED, WebhookEvent.DISMISSED)
OURS = AddressPolicy.parse(LOOPBACK)


class Clock:
    """Now, moved on when a test says so."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class Installation:
    """Jobs, webhooks and a courier on one database; what runs, a test runs."""

    def __init__(self, engine: Engine) -> None:
        self.clock = Clock()
        self.jobs = JobStore(engine, clock=self.clock)
        self.endings = Endings(engine, clock=self.clock)
        self.webhooks = WebhookStore(engine, clock=self.clock)
        self.courier = Courier(self.webhooks, OURS, clock=self.clock)

    def end_a_job(self, state: JobState = JobState.FAILED, owner: str | None = None) -> UUID:
        """A job comes, and ends."""
        job_id = uuid4()
        self.jobs.insert(job_id, SegmentationOptions(label="trial 7"), {}, owner=owner)
        if state is JobState.DISMISSED:
            self.jobs.request_cancel(job_id)
            return job_id
        claim = self.jobs.claim(job_id, 60.0)
        assert claim is not None
        if state is JobState.SUCCESSFUL:
            self.jobs.finish(claim, [], {})
        else:
            self.jobs.fail(claim, "quality-failed", "The T1w is too dark.")
        return job_id

    def work(self, *, later: float = 0.0) -> None:
        """Tell of ends and send what is due, some seconds later."""
        self.clock.ahead += timedelta(seconds=later)
        self.endings.tell_all()
        self.courier.run_once()

    def states(self, webhook: WebhookRecord) -> list[MessageState]:
        """States of a webhook's messages, newest first."""
        return [each.state for each in self.webhooks.messages(webhook.id, sees=None)]


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Installation]:
    """One for each test."""
    engine = open_engine(fresh_database(tmp_path / "jobs.sqlite"))
    yield Installation(engine)
    engine.dispose()


@pytest.fixture
def heard() -> Iterator[Receiver]:
    """A customer's receiver."""
    with receiver() as running:
        yield running


def test_the_signature_is_that_of_the_published_example() -> None:
    """Receivers check with libraries of other people: one wrong byte, and none believes us."""
    # The example that stands in the tests of the specification's own libraries.
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105  # published
    message = Outgoing(
        id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        webhook_id=uuid4(),
        fence=1,
        attempts=1,
        url="https://example.org:8443/x",
        secrets=(secret,),
        body='{"test": 2432232314}',
    )

    headers = dict(signed_headers(message, at=datetime.fromtimestamp(1614265330, UTC)))

    assert headers[b"webhook-signature"] == b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert headers[b"host"] == b"example.org:8443"


def test_each_end_is_told_once_signed_and_says_nothing_of_a_person(
    installed: Installation, heard: Receiver
) -> None:
    """What leaves the house is an id and a state; who may know more asks with a key."""
    webhook, secret = installed.webhooks.create(heard.url, ENDS, owner=None, sees=None)
    jobs = [installed.end_a_job(state) for state in (JobState.SUCCESSFUL, JobState.FAILED)]
    jobs.append(installed.end_a_job(JobState.DISMISSED))
    installed.work()
    installed.work()

    told = [Webhook(secret).verify(body, headers) for headers, body in heard.requests]
    assert {(each["type"], each["data"]["job"]) for each in told} == {
        ("job.successful", str(jobs[0])),
        ("job.failed", str(jobs[1])),
        ("job.dismissed", str(jobs[2])),
    }
    assert len(told) == 3
    everything = b"".join(body for _, body in heard.requests)
    assert b"trial 7" not in everything
    assert b"too dark" not in everything
    assert installed.states(webhook) == [MessageState.DELIVERED] * 3


def test_a_new_secret_and_the_one_before_both_sign_for_a_day(
    installed: Installation, heard: Receiver
) -> None:
    """A receiver changes over without missing a message; a stolen secret does not live on."""
    webhook, first = installed.webhooks.create(heard.url, ENDS, owner=None, sees=None)
    _, second = installed.webhooks.rotate(webhook.id, sees=None)
    installed.webhooks.send_test(webhook.id, sees=None)
    installed.work()
    headers, body = heard.requests[0]
    for secret in (first, second):
        assert Webhook(secret).verify(body, headers)["type"] == "webhook.test"

    installed.clock.ahead += timedelta(days=1)
    installed.webhooks.send_test(webhook.id, sees=None)
    installed.work()
    headers, body = heard.requests[1]
    at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    signature = Webhook(second).sign(headers["webhook-id"], at, body.decode())
    assert headers["webhook-signature"] == signature

    _, third = installed.webhooks.rotate(webhook.id, sees=None)
    assert len({first, second, third}) == 3
    assert installed.webhooks.get(webhook.id, sees=None).live_secrets == 2


def test_who_does_not_hear_is_told_again_later_and_later(
    installed: Installation, heard: Receiver
) -> None:
    """A receiver that is down for a night gets everything in the morning, under the same id."""
    webhook, _ = installed.webhooks.create(heard.url, ENDS, owner=None, sees=None)
    installed.end_a_job()
    heard.answers = [500, 302, 503]
    heard.headers = {"Retry-After": "900", "Location": "http://127.0.0.1:1/"}
    installed.work()
    installed.work(later=60)
    assert len(heard.requests) == 1, "sent again before its time"
    installed.work(later=900)
    installed.work(later=900)
    installed.work(later=3600)

    assert len(heard.requests) == 4
    assert len(set(heard.ids)) == 1
    (message,) = installed.webhooks.messages(webhook.id, sees=None)
    assert [attempt.status for attempt in message.log] == [500, 302, 503, 204]
    assert message.state is MessageState.DELIVERED


@pytest.mark.parametrize(
    "when",
    [
        "Mon, 01 Jan 2024 00:00:00 +99999999999999999999",
        "Fri, 01 Jan 0001 00:00:00 +2300",
        "soon",
    ],
)
def test_an_answer_that_asks_for_no_possible_time_is_an_answer(
    installed: Installation, heard: Receiver, when: str
) -> None:
    """A receiver's strange header must cost its message nothing but an attempt."""
    webhook, _ = installed.webhooks.create(heard.url, ENDS, owner=None, sees=None)
    installed.webhooks.send_test(webhook.id, sees=None)
    heard.answers, heard.headers = [503], {"Retry-After": when}
    installed.work()

    (message,) = installed.webhooks.messages(webhook.id, sees=None)
    assert [(attempt.status, attempt.error) for attempt in message.log] == [(503, None)]


def test_a_fault_that_nobody_foresaw_is_noted_and_holds_nobody_up(
    installed: Installation, heard: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """Unnoted, a message would be sent for ever, and its webhook hear nothing else."""
    caplog.set_level("INFO")
    broken, _ = installed.webhooks.create(heard.url, ENDS, owner=None, sees=None)
    whole, _ = installed.webhooks.create(heard.url, ENDS, owner=None, sees=None)
    with installed.webhooks._write() as session:
        row = session.get_one(WebhookRow, broken.id)
        row.secrets = [{"secret": "whsec_A", "until": None}]
    for webhook in (broken, whole):
        installed.webhooks.send_test(webhook.id, sees=None)
    installed.work()

    (message,) = installed.webhooks.messages(broken.id, sees=None)
    assert (message.state, message.attempts) == (MessageState.PENDING, 1)
    assert message.log[0].error == "Error"
    assert installed.states(whole) == [MessageState.DELIVERED]
    logged = [record.getMessage() for record in caplog.records]
    assert logged.count("webhook_attempted") == 2


def test_a_message_that_is_given_up_can_be_replayed(
    installed: Installation, heard: Receiver
) -> None:
    """Three days are over, and the receiver is mended on the fourth."""
    webhook, _ = installed.webhooks.create("http://127.0.0.1:1/", ENDS, owner=None, sees=None)
    installed.end_a_job()
    for _ in range(len(PAUSES_S) + 3):
        installed.work(later=200_000)
    (message,) = installed.webhooks.messages(webhook.id, sees=None)
    assert (message.state, message.attempts) == (MessageState.FAILED, len(PAUSES_S) + 1)
    assert {attempt.error for attempt in message.log} == {"ConnectError"}

    other, _ = installed.webhooks.create(heard.url, ENDS, owner=None, sees=None)
    installed.end_a_job()
    heard.answers = [410]
    installed.work()
    assert installed.webhooks.get(other.id, sees=None).disabled == "gone"
    (given_up,) = installed.webhooks.messages(other.id, sees=None)
    installed.webhooks.rotate(other.id, sees=None)
    installed.webhooks.replay(other.id, given_up.id, sees=None)
    installed.work()
    assert heard.ids == [given_up.id] * 2
    assert installed.states(other) == [MessageState.DELIVERED]


def test_a_message_whose_sender_died_is_sent_by_another_and_the_late_one_is_not_heard(
    installed: Installation, heard: Receiver
) -> None:
    """A lease: nothing is lost with a process, and a zombie does not overwrite the truth."""
    webhook, _ = installed.webhooks.create(heard.url, ENDS, owner=None, sees=None)
    installed.end_a_job()
    installed.endings.tell_all()
    (dead,) = installed.webhooks.take(4, lease_s=60.0)

    installed.work()
    assert not heard.requests, "sent while another had it"
    installed.work(later=61)
    assert heard.ids == [dead.id]
    log = installed.webhooks.messages(webhook.id, sees=None)[0].log
    assert not installed.webhooks.note(dead, log[0], state=MessageState.PENDING)
    assert installed.states(webhook) == [MessageState.DELIVERED]


def test_a_webhook_with_a_backlog_keeps_nobody_waiting(installed: Installation) -> None:
    """A receiver that was down has hundreds due: another's single message goes out all the same."""
    slow, _ = installed.webhooks.create("http://127.0.0.1:1/", ENDS, owner=None, sees=None)
    with installed.webhooks._write() as session:
        row = session.get_one(WebhookRow, slow.id)
        for minute in range(300):
            at = installed.clock() - timedelta(minutes=minute)
            session.add(message_row(row, WebhookEvent.TEST, {}, at))
    quick, _ = installed.webhooks.create("http://127.0.0.1:2/", ENDS, owner=None, sees=None)
    ours = installed.webhooks.send_test(quick.id, sees=None)
    installed.clock.ahead += timedelta(seconds=1)

    first, second = installed.webhooks.take(4, lease_s=60.0)

    oldest = installed.webhooks.messages(slow.id, sees=None, limit=300)[-1]
    assert [first.id, second.id] == [oldest.id, ours.id]
    assert installed.webhooks.take(4, lease_s=60.0) == [], "both are being sent to"
    installed.clock.ahead += timedelta(seconds=61)
    assert [each.webhook_id for each in installed.webhooks.take(1, lease_s=60.0)] == [slow.id]
    assert [each.webhook_id for each in installed.webhooks.take(1, lease_s=60.0)] == [quick.id]


def test_ends_of_comparisons_are_told_to_their_owner_who_asked_for_it(
    installed: Installation, heard: Receiver
) -> None:
    """A comparison ends long after the request for it: nobody should have to poll for hours."""
    events = (WebhookEvent.COMPARISON_SUCCESSFUL, WebhookEvent.COMPARISON_FAILED)
    comparisons = ComparisonStore(installed.jobs._engine)
    webhook, secret = installed.webhooks.create(heard.url, events, owner="a", sees="a")
    installed.webhooks.create(heard.url, ENDS, owner="a", sees="a")
    ids = [
        comparisons.insert(uuid4(), uuid4(), owner=owner, label="trial 7").id
        for owner in ("a", "a", "b")
    ]
    for comparison_id, fails in zip(ids, (False, True, False), strict=True):
        claim = comparisons.claim(comparison_id, 60.0)
        assert claim is not None
        if fails:
            comparisons.fail(claim, "quality-failed", "The visits differ.")
        else:
            comparisons.finish(claim, [], {"new": 2})
    installed.work()
    installed.work()

    told = [Webhook(secret).verify(body, headers) for headers, body in heard.requests]
    assert {(each["type"], each["data"]["comparison"]) for each in told} == {
        ("comparison.successful", str(ids[0])),
        ("comparison.failed", str(ids[1])),
    }
    assert len(told) == 2
    assert b"trial 7" not in b"".join(body for _, body in heard.requests)
    logged = installed.webhooks.messages(webhook.id, sees="a")
    assert {message.comparison_id for message in logged} == set(ids[:2])


def test_owners_are_told_of_their_own_jobs_and_of_the_events_they_chose(
    installed: Installation, heard: Receiver
) -> None:
    """Another's job must not even be hinted at."""
    failures = (WebhookEvent.FAILED,)
    installed.webhooks.create(heard.url, failures, owner="a", sees="a")
    mine = installed.end_a_job(owner="a")
    installed.end_a_job(JobState.SUCCESSFUL, owner="a")
    installed.end_a_job(owner="b")
    installed.work()
    assert [json.loads(body)["data"]["job"] for _, body in heard.requests] == [str(mine)]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",  # noqa: S104  # refused
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fec0::1",
        "feff::1",
        "fc00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "2002:0a00:0001::1",
        "64:ff9b::7f00:1",
    ],
)
def test_no_address_inside_the_house_counts_as_public(address: str) -> None:
    """However it is written: each of these is a known way around such a check."""
    assert not is_public(ip_address(address))
    assert not AddressPolicy().allows(ip_address(address), encrypted=True)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_public_addresses_may_be_reached_with_tls_only(address: str) -> None:
    """Else nobody could be told at all."""
    assert AddressPolicy().allows(ip_address(address), encrypted=True)
    assert not AddressPolicy().allows(ip_address(address), encrypted=False)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "https://127.0.0.1/",
        "https://localhost/",
        "https://[::ffff:127.0.0.1]/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://user:pw@93.184.215.14/",
        "https://93.184.215.14/#x",
        "https://93.184.215.14:99999/",
        "https:///x",
        "file:///etc/passwd",
        "gopher://93.184.215.14/",
        "https://93.184.215.14/\r\nX: y",
        "",
    ],
)
def test_an_address_that_must_not_be_reached_is_refused_when_it_is_named(url: str) -> None:
    """At once, so that its owner can mend it."""
    with pytest.raises(BadOption, match="address"):
        AddressPolicy().check_url(url)


def test_a_name_that_changes_its_mind_is_refused_when_it_is_called(
    installed: Installation, heard: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: public when it is checked, private when it is connected to."""
    answers = ["93.184.215.14", "127.0.0.1"]

    def resolve(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        address = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    port = int(heard.url.rpartition(":")[2].partition("/")[0])
    url = f"https://rebinding.example:{port}/"
    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    AddressPolicy().check_url(url)
    webhook, _ = installed.webhooks.create(url, ENDS, owner=None, sees=None)
    installed.webhooks.send_test(webhook.id, sees=None)
    Courier(installed.webhooks, AddressPolicy(), clock=installed.clock).run_once()

    (message,) = installed.webhooks.messages(webhook.id, sees=None)
    assert message.log[0].error == "its host is not one that may be reached from here"
    assert not heard.requests


def test_a_slow_receiver_is_given_up_in_time(
    installed: Installation, heard: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that says nothing must not hold up the others for ever."""
    monkeypatch.setattr("dlb_core.jobs.webhooks.courier.LIMIT_S", 0.3)
    heard.pause_s = 1.0
    webhook, _ = installed.webhooks.create(heard.url, ENDS, owner=None, sees=None)
    installed.webhooks.send_test(webhook.id, sees=None)
    installed.work()

    (message,) = installed.webhooks.messages(webhook.id, sees=None)
    assert message.log[0].error == "ReadTimeout"
    assert message.state is MessageState.PENDING
