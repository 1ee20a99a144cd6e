"""The Kubernetes manifests hold to the API's schemas, and name only what exists."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from sqlalchemy import text

from dlb_core.jobs.database import open_engine, upgrade
from service.settings import ServiceSettings
from worker.settings import WorkerSettings

FOLDER = Path(__file__).parent.parent.parent / "deploy" / "kubernetes"
VERSION = "1.34"
KUSTOMIZATION = "kustomization.yml"
DOCUMENTS: list[dict[str, Any]] = [
    document
    for path in sorted(FOLDER.glob("*.yml"))
    if path.name != KUSTOMIZATION
    for document in yaml.safe_load_all(path.read_text())
]
PODS = {d["metadata"]["name"]: d for d in DOCUMENTS if d["kind"] == "Deployment"}
OURS = {name: pod for name, pod in PODS.items() if name != "redis"}
SCALED = [d for d in DOCUMENTS if d["kind"] == "ScaledObject"]
SETTINGS = yaml.safe_load((FOLDER / KUSTOMIZATION).read_text())


def container(pod: dict[str, Any]) -> dict[str, Any]:
    """A deployment's only container."""
    (found,) = pod["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def probes(pod: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Its probes."""
    return (value for key, value in container(pod).items() if key.endswith("Probe"))


@pytest.mark.parametrize(
    "document",
    [d for d in DOCUMENTS if not d["apiVersion"].startswith("keda.sh/")],
    ids=lambda d: f"{d['kind']} {d['metadata']['name']}",
)
def test_it_holds_to_the_schema_of_its_kind(document: dict[str, Any]) -> None:
    """The cluster refuses some mistakes, and silently drops others; strictly none may be there."""
    kubernetes_validate.validate(document, VERSION, strict=True)


def test_every_file_is_applied() -> None:
    """A manifest that nobody applies protects and scales nothing."""
    files = {path.name for path in FOLDER.glob("*.yml")} - {KUSTOMIZATION}
    assert set(SETTINGS["resources"]) == files


@pytest.mark.parametrize("name", OURS)
def test_what_a_pod_starts_and_is_told_exists(name: str) -> None:
    """A pod that starts nothing restarts for ever; a variable misspelt is silently ignored."""
    pod = OURS[name]
    commands = [container(pod)["args"]]
    commands += [probe["exec"]["command"] for probe in probes(pod) if "exec" in probe]
    for command in commands:
        assert command[:2] == ["python", "-m"]
        assert importlib.util.find_spec(command[2]) is not None

    kind = ServiceSettings if name == "api" else WorkerSettings
    literals = dict(pair.split("=", 1) for pair in SETTINGS["configMapGenerator"][0]["literals"])
    own = {entry["name"]: entry.get("value", "x://y") for entry in container(pod)["env"]}
    known = {
        f"DLB_{field.upper()}"
        for kind in (ServiceSettings, WorkerSettings)
        for field in kind.model_fields
    }
    assert literals.keys() | own.keys() <= known
    settings = kind.from_environment(literals | own)
    mounts = {mount["mountPath"] for mount in container(pod)["volumeMounts"]}
    assert str(settings.data) in mounts


@pytest.mark.parametrize("name", PODS)
def test_every_pod_is_an_ordinary_user_who_can_write_nothing_else(name: str) -> None:
    """What a hostile scan can do, should it break a parser, ends here."""
    spec = PODS[name]["spec"]["template"]["spec"]
    security = container(PODS[name])["securityContext"]

    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert "memory" in container(PODS[name])["resources"]["limits"]


def test_the_gpu_worker_asks_for_a_card_and_starts_only_when_there_is_work() -> None:
    """A card that nobody uses is the dearest thing in the cluster."""
    gpu = container(PODS["worker-gpu"])
    (scaled,) = [s for s in SCALED if s["spec"]["scaleTargetRef"]["name"] == "worker-gpu"]

    assert gpu["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert {"name": "DLB_DEVICE", "value": "cuda"} in gpu["env"]
    assert scaled["spec"]["minReplicaCount"] == 0


@pytest.mark.parametrize("scaled", SCALED, ids=lambda d: d["metadata"]["name"])
def test_workers_are_scaled_by_a_query_that_the_database_answers(
    scaled: dict[str, Any], tmp_path: Path
) -> None:
    """KEDA has no schema to check against here: so what it names is looked up, and asked."""
    (trigger,) = scaled["spec"]["triggers"]
    named = {d["metadata"]["name"] for d in DOCUMENTS if d["kind"] == "TriggerAuthentication"}
    assert scaled["spec"]["scaleTargetRef"]["name"] in OURS
    assert trigger["type"] == "postgresql"
    assert trigger["authenticationRef"]["name"] in named

    engine = open_engine(f"sqlite:///{tmp_path / 'jobs.sqlite'}")
    upgrade(engine)
    with engine.connect() as connection:
        assert connection.scalar(text(trigger["metadata"]["query"])) == 0
    engine.dispose()
