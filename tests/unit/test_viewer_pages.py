"""The pages' headers, and the viewer for a folder: what needs no browser to be seen."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from dlb_core import artefacts
from dlb_core.cli.main import main
from dlb_core.contracts import SegmentationOptions
from dlb_core.corrections import write_record
from dlb_core.report.document import RESEARCH_USE, Correction
from service.viewer.local import JOB_PATH, create_local_app
from service.viewer.pages import FILES, STATIC
from tests.unit.plain_report import plain_report
from tests.unit.service_kit import service

ROOT = Path(__file__).parent.parent.parent
SOMEBODYS_JOB = "/v1/jobs/8f984457-5fcc-4ed7-b760-5251f935d7d4"


@pytest.fixture
def anyio_backend() -> str:
    """The service's own event loop."""
    return "asyncio"


@pytest.mark.anyio
async def test_pages_need_no_key_and_everything_else_does(tmp_path: Path) -> None:
    """A browser opens a page without a key; the page holds no data, and asks for the key itself."""
    async with service(tmp_path, authentication="required") as (client, _):
        for path in ("/", f"{SOMEBODYS_JOB}/view", "/viewer/style.css", "/viewer/js/view.js"):
            answer = await client.get(path)
            assert answer.status_code == 200, path
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
            assert "unsafe" not in policy
        for path in (SOMEBODYS_JOB, "/v1/jobs", f"{SOMEBODYS_JOB}/view/results", "/x/view"):
            assert (await client.get(path)).status_code == 401, path


@pytest.mark.anyio
async def test_only_the_pages_own_files_are_served(tmp_path: Path) -> None:
    """A path that climbs would give the service's code, or worse."""
    async with service(tmp_path) as (client, _):
        for name in ("../pages.py", "%2e%2e/pages.py", "js", "js/../../pages.py", "/etc/passwd"):
            assert (await client.get(f"/viewer/{name}")).status_code == 404, name


@pytest.mark.anyio
async def test_an_unchanged_file_is_not_sent_again(tmp_path: Path) -> None:
    """NiiVue has 2 MB."""
    async with service(tmp_path) as (client, _):
        tag = (await client.get("/viewer/style.css")).headers["ETag"]
        again = await client.get("/viewer/style.css", headers={"If-None-Match": tag})

    assert again.status_code == 304
    assert again.content == b""


@pytest.mark.parametrize("name", ["index.html", "view.html"])
def test_pages_say_what_they_are_for_and_load_only_what_is_here(name: str) -> None:
    """A strict policy would otherwise stop them in silence, and a hospital has no network."""
    page = (STATIC / name).read_text(encoding="utf-8")
    loaded = re.findall(r'(?:src|rel="(?:icon|stylesheet)" href)="([^"]+)"', page)

    assert RESEARCH_USE in page
    assert len(loaded) >= 3
    assert all(path.removeprefix("/viewer/") in FILES for path in loaded)
    assert not re.search(r"<style|style=|<script>|\son\w+=", page)


def test_modules_import_what_is_there() -> None:
    """A renamed module would break the page where no test without a browser looks."""
    for path in (STATIC / "js").glob("*.js"):
        for imported in re.findall(r'from "\./([\w.]+)"', path.read_text(encoding="utf-8")):
            assert f"js/{imported}" in FILES, f"{path.name} imports {imported}"


def test_niivue_is_the_published_file() -> None:
    """What is vendored must be what its licence and its provenance speak of."""
    content = (STATIC / "vendor" / "niivue.umd.js").read_bytes()

    assert hashlib.sha256(content).hexdigest() in (ROOT / "THIRD_PARTY.md").read_text()


@pytest.mark.anyio
async def test_a_folder_is_shown_as_one_finished_job(tmp_path: Path) -> None:
    """`dlb view`: the same page as the service's, for results without a service."""
    report = {"label": "case", "created": "2026-01-01T00:00:00Z", "options": {"label": "case"}}
    (tmp_path / artefacts.REPORT_JSON).write_text(json.dumps(report))
    (tmp_path / artefacts.MASK_MNI).write_bytes(b"mask")
    (tmp_path / "private.txt").write_text("not a result")
    transport = httpx.ASGITransport(app=create_local_app(tmp_path))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8001") as client:
        start = await client.get("/")
        job = (await client.get(JOB_PATH)).json()
        results = (await client.get(job["links"]["results"])).json()
        mask = await client.get(results["artefacts"][1]["href"])
        private = await client.get(f"{JOB_PATH}/artefacts/private.txt")
        strange = await client.get(JOB_PATH, headers={"Host": "evil.example"})

    assert start.headers["Location"] == f"{JOB_PATH}/view"
    assert job["state"] == "successful"
    assert results["report"] == report
    names = [artefact["name"] for artefact in results["artefacts"]]
    assert names == [artefacts.REPORT_JSON, artefacts.MASK_MNI]
    assert mask.content == b"mask"
    assert private.status_code == 404
    assert strange.status_code == 400


@pytest.mark.anyio
async def test_a_folders_corrected_version_is_shown_beside_the_original(tmp_path: Path) -> None:
    """The page offers both, and says who made the second."""
    first = plain_report(SegmentationOptions(label="case"))
    edit = Correction(
        version=2,
        created="2026-01-02T00:00:00+00:00",
        author="A. Reader",
        space="FLAIR",
        mask_sha256="0" * 64,
        added_ml=0.1,
        removed_ml=0.0,
        lesion_count_before=0,
        lesion_volume_before_ml=0.0,
    )
    corrected = tmp_path / "corrections" / "2"
    corrected.mkdir(parents=True)
    for folder, report in (
        (tmp_path, first),
        (corrected, first.model_copy(update={"corrections": (edit,)})),
    ):
        (folder / artefacts.REPORT_JSON).write_text(report.model_dump_json())
    write_record(corrected, first.model_copy(update={"corrections": (edit,)}))
    transport = httpx.ASGITransport(app=create_local_app(tmp_path))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8001") as client:
        own = (await client.get(f"{JOB_PATH}/results")).json()
        second = (await client.get(own["versions"][1]["links"]["results"])).json()
        file = (await client.get(second["artefacts"][0]["href"])).json()
        missing = await client.get(f"{JOB_PATH}/results?version=3")

    assert own["report"]["corrections"] == []
    assert [version["version"] for version in own["versions"]] == [1, 2]
    assert own["versions"][1]["correction"]["author"] == "A. Reader"
    assert (second["version"], second["report"], file) == (2, file, second["report"])
    assert file["corrections"][0]["author"] == "A. Reader"
    assert missing.status_code == 404


def test_view_refuses_a_folder_without_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty viewer would leave the user to guess."""
    assert main(["view", str(tmp_path)]) == 2
    assert "no report.json" in capsys.readouterr().err


def test_view_shows_the_folder_until_ctrl_c(tmp_path: Path) -> None:
    """It reads what it shows, runs nothing that lies beside it, and leaves no one listening."""
    made = plain_report(SegmentationOptions(), lesion_count=3)
    (tmp_path / "report.json").write_text(made.model_dump_json())
    (tmp_path / "html.py").write_text("raise SystemExit('a module of the folder was run')")
    code = "import sys; sys.path.remove(''); from dlb_core.cli.main import main; sys.exit(main())"
    with subprocess.Popen(
        [sys.executable, "-c", code, "view", "."],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as view:
        assert view.stdout is not None
        address = view.stdout.readline().split()[1]
        shown = httpx.get(f"{address.rstrip('/')}{JOB_PATH}/results").json()
        view.send_signal(signal.SIGINT)
        _, errors = view.communicate(timeout=60)

    assert shown["report"]["totals"]["lesion_count"] == made.totals.lesion_count
    assert (view.returncode, errors) == (0, "")
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)
