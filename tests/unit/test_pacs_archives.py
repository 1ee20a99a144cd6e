"""Archives that the operator sets up, and archives that answer what they should not."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dlb_core.errors import BadOption, DiskFull, PacsUnavailable, StudyNotFound, UploadTooLarge
from dlb_core.pacs.archives import Archive, read_archives
from dlb_core.pacs.web import DicomWeb

JSON = "application/dicom+json"
RELATED = 'multipart/related; type="application/dicom"; boundary="b"'
PARTS = b"--b\r\nContent-Type: application/dicom\r\n\r\none\r\n--b\r\nX: y\r\n\r\ntwo\r\n--b--\r\n"
PLACE = "not-to-be-told"


@contextmanager
def archive(status: int, kind: str, body: bytes) -> Iterator[DicomWeb]:
    """A server that answers everything alike."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  # the server looks for this name

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        port = server.server_address[1]
        with DicomWeb(Archive(url=f"http://127.0.0.1:{port}/{PLACE}")) as web:
            yield web
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def fetched(web: DicomWeb, folder: Path, **limits: object) -> list[Path]:
    """Fetch any series."""
    given = {"max_bytes": 10_000, "on_bytes": lambda _: None} | limits
    return web.fetch("1.2", "1.3", folder, **given)  # type: ignore[arg-type]


def test_parts_of_an_answer_become_files(tmp_path: Path) -> None:
    """Under names of our own, byte for byte."""
    with archive(200, RELATED, PARTS) as web:
        paths = fetched(web, tmp_path)

    assert [path.read_bytes() for path in paths] == [b"one", b"two"]
    assert [path.name for path in paths] == ["000001.dcm", "000002.dcm"]


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (200, "text/html", b"<html>log in</html>"),
        (200, RELATED, PARTS[:40]),
        (200, RELATED, b"--b--\r\n"),
        (200, RELATED, b"nothing of the kind"),
        (200, "multipart/related", PARTS),
        (302, RELATED, b""),
        (401, RELATED, b""),
        (500, RELATED, b""),
    ],
)
def test_an_answer_that_is_none_is_the_archives_fault(
    tmp_path: Path, status: int, kind: str, body: bytes
) -> None:
    """Worth another try, and no fault of the caller's; where the archive is, is not told."""
    with archive(status, kind, body) as web, pytest.raises(PacsUnavailable) as caught:
        fetched(web, tmp_path)

    assert PLACE not in str(caught.value)


def test_an_answer_without_end_is_refused(tmp_path: Path) -> None:
    """An archive is believed no more than a caller is."""

    def full(_: int) -> None:
        raise DiskFull("full")

    with archive(200, RELATED, PARTS) as web:
        with pytest.raises(UploadTooLarge):
            fetched(web, tmp_path, max_bytes=50)
        with pytest.raises(DiskFull):
            fetched(web, tmp_path, on_bytes=full)


@pytest.mark.parametrize(
    "body",
    [
        b"no JSON",
        b"{}",
        b'[{"0020000E": 1}]',
        b"[1]",
        b'[{"0020000E": {"vr": "UI", "Value": []}}]',
        b'[{"0020000E": {"vr": "OB", "InlineBinary": "A"}}]',
        b'[{"0020000E": {"vr": "SEX", "Value": ["1.3"]}}]',
        b'[{"not a tag": {"vr": "UI", "Value": ["1.3"]}}]',
        b'[{"00201041": {"vr": "DS", "Value": ["far"]}}]',
    ],
)
@pytest.mark.parametrize(
    "ask",
    [
        lambda web: web.series("1.2", modality="MR"),
        lambda web: web.study("1.2").walk(lambda *_: None),
        lambda web: web.headers("1.2", "1.3"),
    ],
)
def test_what_an_archive_tells_is_not_believed_to_be_well_formed(
    body: bytes, ask: Callable[[DicomWeb], object]
) -> None:
    """Whatever it says, only our own errors leave."""
    with archive(200, JSON, body) as web, suppress(PacsUnavailable):
        ask(web)


@pytest.mark.parametrize("certificates", [None, "no certificate"])
def test_certificates_that_cannot_be_used_are_no_crash(
    tmp_path: Path, certificates: str | None
) -> None:
    """A pull answers 503, and a delivery says in its log what is wrong."""
    ca_file = tmp_path / PLACE
    if certificates is not None:
        ca_file.write_text(certificates)

    with pytest.raises(PacsUnavailable, match="operator") as caught:
        DicomWeb(Archive(url="https://127.0.0.1:1/dicom-web", ca_file=ca_file))

    assert PLACE not in str(caught.value)


def test_no_study_is_told_apart_from_no_archive() -> None:
    """The one is the caller's to mend."""
    with archive(204, JSON, b"") as web, pytest.raises(StudyNotFound):
        web.study("1.2")
    with archive(200, JSON, b"[]") as web, pytest.raises(StudyNotFound):
        web.series("1.2", modality="MR")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"{}"),
        (202, b'{"00081198": {"Value": [{"00081155": {"Value": ["1.9"]}}]}}'),
        (409, b'{"00081198": {"Value": [{"00081155": {"Value": ["1.9"]}}]}}'),
        (409, b""),
        (413, b""),
    ],
)
def test_objects_count_as_stored_only_where_the_archive_says_so(status: int, body: bytes) -> None:
    """A delivery that is called made and was not is the worst of all ends."""
    with archive(status, JSON, body) as web, pytest.raises(PacsUnavailable):
        web.store([b"object"], ["1.9"])


def test_stored_objects_are_stored() -> None:
    """The answer names each of them."""
    told = b'{"00081199": {"Value": [{"00081155": {"Value": ["1.9"]}}]}}'
    with archive(200, JSON, told) as web:
        web.store([b"object"], ["1.9"])


def test_archives_are_read_from_a_file(tmp_path: Path) -> None:
    """No file, no archives; passwords lie in files of their own."""
    path = tmp_path / "pacs.toml"
    path.write_text('[main]\nurl = "https://pacs.example.org/dicom-web/"\ntimeout_s = 5\n')

    assert read_archives(None) == {}
    assert read_archives(path)["main"].url == "https://pacs.example.org/dicom-web"


@pytest.mark.parametrize(
    "text",
    [
        "not toml",
        "[main]\n",
        '[main]\nurl = "ftp://pacs"\n',
        '[main]\nurl = "https://user:secret@pacs/"\n',
        '[main]\nurl = "https://pacs"\nusername = "a"\n',
        '[main]\nurl = "https://pacs"\nunknown = 1\n',
        '["../x"]\nurl = "https://pacs"\n',
        "main = 1\n",
    ],
)
def test_a_file_that_cannot_be_used_stops_the_service_at_its_start(
    tmp_path: Path, text: str
) -> None:
    """Half a setting would be found out by the first delivery that fails."""
    path = tmp_path / "pacs.toml"
    path.write_text(text)

    with pytest.raises(BadOption, match="DLB_PACS_FILE"):
        read_archives(path)
    with pytest.raises(BadOption, match="DLB_PACS_FILE"):
        read_archives(tmp_path / "absent.toml")
