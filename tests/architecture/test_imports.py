"""Who may import whom; and the service starts without the machinery of the method."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("dlb_core", "service", "worker")
FORBIDDEN = {
    "dlb_core": {"service", "worker"},
    "service": {"worker"},
    "worker": {"service"},
}
HEAVY = (
    "torch",
    "nilearn",
    "SimpleITK",
    "skimage",
    "matplotlib",
    "deepbet",
    "safetensors",
    "highdicom",
)
METHOD = ("dlb_core.pipeline", "dlb_core.network", "dlb_core.preprocessing", "dlb_core.training")

HANDS_ON_ITS_ENVIRONMENT = "dlb_core.jobs.supervisor"
"""It starts other processes, and gives them all variables it was given, reading none."""


def module_name(path: Path) -> str:
    """dlb_core/jobs/store.py -> dlb_core.jobs.store."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    """Full names of everything that a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative imports hide who imports whom"
            assert node.module is not None
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def sources(package: str) -> list[Path]:
    """Every file of a package."""
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_downwards(package: str) -> None:
    """Service and worker meet through dlb_core alone, which knows neither."""
    offences = [
        f"{module_name(path)} imports {name}"
        for path in sources(package)
        for name in imports_of(path)
        if name.partition(".")[0] in FORBIDDEN[package]
    ]

    assert sources(package)
    assert not offences


def test_the_service_imports_no_module_that_imports_torch() -> None:
    """Followed from import to import, so that the culprit is named."""
    graph = {
        module_name(path): imports_of(path) for package in PACKAGES for path in sources(package)
    }
    reached: dict[str, str] = {}
    waiting = [(name, name) for name in graph if name.partition(".")[0] == "service"]
    while waiting:
        name, route = waiting.pop()
        if name in reached:
            continue
        reached[name] = route
        waiting += [(found, f"{route} > {found}") for found in graph.get(name, ())]

    offences = [route for name, route in reached.items() if name.partition(".")[0] in HEAVY]
    assert not offences


def test_dlb_core_reads_no_environment() -> None:
    """Settings are read once, at the entry points, and handed down."""
    offences = [
        module_name(path)
        for path in sources("dlb_core")
        if path.parent.name != "cli"
        and module_name(path) != HANDS_ON_ITS_ENVIRONMENT
        and reads_environment(path)
    ]

    assert not offences


def reads_environment(path: Path) -> bool:
    """Whether a file asks for os.environ or os.getenv."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return bool(named & {"environ", "getenv"}) or "os.environ" in imports_of(path)


@pytest.mark.parametrize("module", ["service.app", "dlb_core.client"])
def test_it_starts_without_the_machinery_of_the_method(module: str) -> None:
    """The API answers in a second and in little memory; torch would cost both."""
    program = f"import {module}, sys; print('\\n'.join(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()

    offences = [
        name for name in loaded if name.partition(".")[0] in HEAVY or name.startswith(METHOD)
    ]
    assert module in loaded
    assert not offences
