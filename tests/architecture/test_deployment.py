"""Dockerfile and compose file name only what exists: checked by reading, no engine needed."""

import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from service.settings import ServiceSettings
from worker.settings import WorkerSettings

ROOT = Path(__file__).parent.parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
KNOWN = {f"DLB_{name.upper()}" for name in ServiceSettings.model_fields} | {
    f"DLB_{name.upper()}" for name in WorkerSettings.model_fields
}


def instructions() -> list[tuple[str, str]]:
    """(FROM, "python:3.11-slim AS build"), ... of the Dockerfile, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text()
    joined = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE))
    lines = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [(word, rest.strip()) for word, rest in lines]


def arguments(word: str) -> list[str]:
    """What follows each instruction of one kind."""
    return [rest for found, rest in instructions() if found == word]


def image_environment() -> dict[str, str]:
    """Variables of the final image."""
    pairs = [pair.split("=", 1) for rest in arguments("ENV") for pair in shlex.split(rest)]
    return dict(pairs)


def modules_run(text: str) -> list[str]:
    """Modules that a text starts with `python -m`."""
    return re.findall(r"""python["', ]+-m["', ]+([\w.]+)""", text)


def test_what_the_image_copies_exists() -> None:
    """A renamed folder would otherwise break the build where nobody looks."""
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for rest in arguments("COPY"):
        if rest.startswith("--from"):
            continue
        for source in rest.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert f"!{source}" in ignored, f"{source} never reaches the build"


def test_the_image_runs_as_an_ordinary_user_and_checks_its_health() -> None:
    """Root in a container owns the files it writes on the host."""
    assert arguments("USER")[-1].isdecimal()
    assert int(arguments("USER")[-1]) > 0
    assert modules_run(arguments("HEALTHCHECK")[0]) == ["service.health"]
    bases = {rest.split()[0] for rest in arguments("FROM")}
    assert len(bases) == 1, "libraries are built for the Python that runs them"


@pytest.mark.parametrize(
    "text",
    [str(service.get(key)) for service in OURS.values() for key in ("command", "healthcheck")]
    + [rest for word, rest in instructions() if word in ("CMD", "HEALTHCHECK")],
)
def test_what_a_container_starts_is_a_module_of_ours(text: str) -> None:
    """A container that starts nothing restarts for ever."""
    for module in modules_run(text):
        found = importlib.util.find_spec(module)
        assert found is not None, module
        if found.submodule_search_locations is not None:
            assert importlib.util.find_spec(f"{module}.__main__") is not None


@pytest.mark.parametrize("name", OURS)
def test_a_containers_settings_are_known_and_usable(name: str) -> None:
    """A variable with a typing error is silently ignored: the default would be used."""
    environment = image_environment() | {
        key: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value)
        for key, value in OURS[name]["environment"].items()
    }
    given = {key for key in environment if key.startswith("DLB_")}
    kind = ServiceSettings if name == "api" else WorkerSettings

    assert given <= KNOWN
    settings = kind.from_environment(environment)
    assert settings.redis_url == "redis://redis:6379/0"


@pytest.mark.parametrize("name", OURS)
def test_api_and_workers_share_the_data_and_can_write_nothing_else(name: str) -> None:
    """The job store and the scans lie in one volume; all else is read-only."""
    service = OURS[name]
    data = image_environment()["DLB_DATA"]

    assert service["volumes"] == [f"data:{data}"]
    assert service["environment"]["DLB_DATA"] == data
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert set(COMPOSE["volumes"]) == {"data", "redis", "prometheus", "grafana"}


def test_only_pages_and_the_api_are_reachable_and_only_from_this_machine() -> None:
    """Keys travel in plain HTTP: a proxy that speaks TLS must stand between."""
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert published == {
        "api": ["127.0.0.1:8000:8000"],
        "grafana": ["127.0.0.1:3000:3000"],
        "traces": ["127.0.0.1:16686:16686"],
    }


def test_the_image_holds_what_a_setting_may_ask_for() -> None:
    """Where traces go and which database is used are settings: nobody builds an image for them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (printing,) = re.findall(r'python -c "(.*?)" >', "".join(arguments("RUN")))

    printed = subprocess.run(
        [sys.executable, "-c", printing], cwd=ROOT, capture_output=True, text=True, check=True
    )

    installed = set(printed.stdout.splitlines())
    for extra in ("otel", "postgresql"):
        assert set(project["optional-dependencies"][extra]) <= installed
    assert set(project["dependencies"]) < installed


def test_traces_can_be_sent_where_the_compose_file_says() -> None:
    """The address is that of a service there is."""
    for service in OURS.values():
        host = urlsplit(service["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"]).hostname
        assert host in SERVICES


def test_the_files_that_monitoring_mounts_exist() -> None:
    """An engine makes an empty folder of a file that is not there."""
    mounts = [
        volume.partition(":")[0]
        for name in ("prometheus", "grafana")
        for volume in SERVICES[name]["volumes"]
        # The key is made by hand, after the service has started.
        if volume.startswith("./") and not volume.startswith("./metrics.key")
    ]
    assert mounts
    assert all((ROOT / mount).exists() for mount in mounts)
    assert {SERVICES[name]["profiles"][0] for name in ("prometheus", "grafana")} == {"monitoring"}


def test_the_gpu_worker_starts_only_when_asked_for() -> None:
    """Compose would refuse to start at all on a machine without a GPU."""
    gpu = SERVICES["worker-gpu"]
    devices = gpu["deploy"]["resources"]["reservations"]["devices"]

    assert gpu["profiles"] == ["gpu"]
    assert gpu["environment"]["DLB_DEVICE"] == "cuda"
    assert devices[0]["capabilities"] == ["gpu"]


def test_every_service_has_a_health_check() -> None:
    """`docker ps` should show what is wrong; the API's own comes with the image."""
    assert all("healthcheck" in SERVICES[name] for name in SERVICES.keys() - {"api"})
