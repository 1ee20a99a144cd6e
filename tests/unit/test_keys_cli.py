"""`dlb keys`, and what the client does with a key."""

import json
import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from service_kit import Running, make_bundle, nifti

from dlb_core.cli.keys import parse_expiry
from dlb_core.cli.main import main
from dlb_core.cli.submit import KEY_VARIABLE
from dlb_core.client import DlbClient
from dlb_core.errors import BadOption, ServiceFailed, ServiceRefused, ServiceUnreachable

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder that no service has used yet."""
    return tmp_path / "data"


def make(data: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """A new key, as a shell would catch it."""
    capsys.readouterr()
    assert main(["keys", "create", "scanner 2", "--data", str(data), *options]) == 0
    return capsys.readouterr().out.strip()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    """A service on that data folder."""
    running = Running(tmp_path)
    yield running
    running.stop()


def test_a_key_is_shown_once_listed_without_its_secret_and_revoked(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What an operator does, and what may lie on their screen afterwards."""
    key = make(data, capsys, "--role", "read", "--owner", "radiology")
    _, key_id, secret = key.split("_", 2)

    assert main(["keys", "list", "--data", str(data)]) == 0
    listed = capsys.readouterr().out
    assert key_id in listed
    assert "radiology" in listed
    assert secret not in listed

    assert main(["keys", "revoke", key_id, "--data", str(data)]) == 0
    assert "revoked since" in capsys.readouterr().out
    assert main(["keys", "revoke", "none", "--data", str(data)]) == 2


def test_a_key_in_a_file_is_for_its_owner_alone(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The usual umask would let everybody on the machine read it; nothing is overwritten."""
    file = tmp_path / "key.txt"

    assert make(data, capsys, "--output", str(file)) == ""

    assert file.stat().st_mode & 0o777 == 0o600
    kept = file.read_text()
    assert re.fullmatch(r"dlb_\w+_\S+\n", kept)
    assert main(["keys", "create", "again", "--data", str(data), "--output", str(file)]) == 2
    assert file.read_text() == kept
    assert main(["keys", "list", "--data", str(data)]) == 0
    assert "again" not in capsys.readouterr().out


def test_making_and_revoking_is_in_the_audit_log(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who may enter is the first thing that an auditor asks."""
    key = make(data, capsys)
    key_id = key.split("_", 2)[1]
    main(["keys", "revoke", key_id, "--data", str(data)])

    text = (data / "audit" / "audit.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [(line["who"], line["what"], line["about"]) for line in lines] == [
        ("operator", "keys create", key_id),
        ("operator", "keys revoke", key_id),
    ]
    assert key not in text


@pytest.mark.parametrize(
    "options",
    [["--expires", "soon"], ["--expires", "0d"], ["--expires", "2001-01-01"], ["--owner", "a/b"]],
)
def test_what_cannot_be_used_is_refused(data: Path, options: list[str]) -> None:
    """A key that never expires because of a typing error would be found too late."""
    assert main(["keys", "create", "x", "--data", str(data), *options]) == 2
    assert main(["keys", "create", "a\nb", "--data", str(data)]) == 2


@pytest.mark.parametrize(
    ("text", "expires"),
    [
        ("90d", NOW + timedelta(days=90)),
        ("12h", NOW + timedelta(hours=12)),
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC)),
    ],
)
def test_an_end_is_read_as_it_is_meant(text: str, expires: datetime) -> None:
    """Days, hours, or a date."""
    assert parse_expiry(text, NOW) == expires


@pytest.mark.parametrize("text", ["", "d", "1e9d", "999999999999d", "31.1.2027", "2027-02-30"])
def test_no_other_end_is_guessed_at(text: str) -> None:
    """Nor does any text end in a traceback."""
    with pytest.raises(BadOption):
        parse_expiry(text, NOW)


def test_the_command_line_takes_its_key_from_a_file_or_a_variable(
    running: Running,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A key made while the service runs is good at once, and needed from then on."""
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    listing = ["jobs", "--url", running.url]
    assert main(listing) == 0
    key = make(data, capsys)
    assert main(listing) == 2
    assert "unauthenticated" in capsys.readouterr().err

    (tmp_path / "key").write_text(key + "\n")
    assert main([*listing, "--key-file", str(tmp_path / "key")]) == 0
    monkeypatch.setenv(KEY_VARIABLE, key)
    image = tmp_path / "image.nii.gz"
    image.write_bytes(nifti())
    sent = ["submit", "--t1w", str(image), "--flair", str(image), "--url", running.url]
    assert main(sent) == 0

    (tmp_path / "key").write_text("no key, but a sentence")
    assert main([*listing, "--key-file", str(tmp_path / "key")]) == 2


def test_serve_listens_for_others_once_there_is_a_key(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before, whoever reaches it could read every result; the port is taken, so nothing starts."""
    with socket.create_server(("0.0.0.0", 0)) as taken:  # noqa: S104  # nobody answers there
        port = str(taken.getsockname()[1])
        weights = str(make_bundle(tmp_path / "weights"))
        serve = ["serve", "--host", "0.0.0.0", "--port", port, "--data", str(data)]  # noqa: S104
        serve += ["--weights", weights]

        assert main(serve) == 2
        assert "dlb keys create" in capsys.readouterr().err
        make(data, capsys)
        assert main(serve) == 2
        assert "cannot listen" in capsys.readouterr().err
        monkeypatch.setenv("DLB_AUTHENTICATION", "off")
        assert main(serve) == 2
        assert "DLB_AUTHENTICATION" in capsys.readouterr().err


def test_a_key_does_not_leave_for_another_address(running: Running) -> None:
    """An answer that links elsewhere must not be followed with the key in hand."""
    page = httpx.Response(200, json={"jobs": [], "next": "https://evil.example/v1/jobs"})
    transport = httpx.MockTransport(lambda request: page)

    with (
        DlbClient(running.url, api_key="dlb_x", transport=transport) as client,
        pytest.raises(ServiceFailed, match="somewhere else"),
    ):
        list(client.jobs())


@pytest.mark.parametrize(("wait_s", "error"), [(1, ServiceUnreachable), (40_000, ServiceRefused)])
def test_a_pause_is_waited_out_and_a_days_quota_is_not(wait_s: int, error: type[Exception]) -> None:
    """`wait` and `submit` go on after the one, and tell the user of the other."""
    problem = {
        "type": "urn:x",
        "title": "t",
        "status": 429,
        "code": "rate-limited",
        "detail": "d",
        "errors": [],
    }
    answer = httpx.Response(429, json=problem, headers={"Retry-After": str(wait_s)})
    transport = httpx.MockTransport(lambda request: answer)

    with (
        DlbClient("http://elsewhere", attempts=1, transport=transport) as client,
        pytest.raises(error),
    ):
        list(client.jobs())
