"""A genuine Orthanc with its DICOMweb plugin, on loopback, for tests of archives."""

import json
import shutil
import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.integration.job_harness import wait_until

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, PASSWORD = "dlb", "orthanc-secret"


def require_orthanc() -> str:
    """The server's program; without it, say loudly what is left untested."""
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    if program is None or not PLUGIN.exists():
        pytest.skip(
            "NO ORTHANC HERE, so nothing is tested against a real archive: apt-get install "
            "orthanc orthanc-dicomweb, or `make archive` as root"
        )
    return program


class Orthanc:
    """One server, until it is stopped."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._settings = folder / "orthanc.json"
        self._settings.write_text(
            json.dumps(
                {
                    "StorageDirectory": str(folder / "storage"),
                    "IndexDirectory": str(folder / "storage"),
                    "HttpPort": self.port,
                    "DicomServerEnabled": False,
                    "RemoteAccessAllowed": False,
                    "AuthenticationEnabled": True,
                    "RegisteredUsers": {USER: PASSWORD},
                    "Plugins": [str(PLUGIN)],
                    "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
                }
            )
        )
        self._log = (folder / "orthanc.log").open("wb")
        self._process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(
            base_url=self.url, auth=(USER, PASSWORD), trust_env=False, timeout=30
        )

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._process = subprocess.Popen(
            [require_orthanc(), str(self._settings)], stdout=self._log, stderr=self._log
        )
        wait_until(self._answers)

    def stop(self) -> None:
        """Stop it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Stop it for good."""
        self.stop()
        self.http.close()
        self._log.close()

    def _answers(self) -> bool:
        try:
            return self.http.get("/system").is_success
        except httpx.TransportError:
            return False

    def add(self, paths: list[Path]) -> None:
        """Put files in, as a scanner would."""
        for path in paths:
            self.http.post("/instances", content=path.read_bytes()).raise_for_status()

    def objects(self) -> dict[str, bytes]:
        """Every object that is there: SOP Instance UID -> the file."""
        listed = self.http.get("/instances?expand").json()
        return {
            one["MainDicomTags"]["SOPInstanceUID"]: self.http.get(
                f"/instances/{one['ID']}/file"
            ).content
            for one in listed
        }
