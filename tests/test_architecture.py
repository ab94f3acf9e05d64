"""Claims about how the code is laid out, read from its syntax trees."""

from __future__ import annotations

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("protocol", "aggregation", "nodes", "simulations", "tests")
GENERATED = set((ROOT / "protocol").glob("*_pb2.py"))

MAY_IMPORT = {
    "protocol": {"protocol"},
    "aggregation": {"aggregation"},
    "nodes": {"nodes", "aggregation", "protocol"},
    "simulations": {"simulations", "nodes", "aggregation", "protocol"},
}
FORBIDDEN = {
    "protocol": {"torch", "transformers", "peft", "flwr", "matplotlib"},
    "aggregation": {"torch", "transformers", "peft", "flwr", "matplotlib", "httpx", "grpc"},
}
ROOMS = (
    "cli",
    "daemon",
    "serving",
    "dashboard",
    "peers",
    "flower",
    "catalogue",
    "parent",
    "child",
    "learning",
    "trust",
    "config",
    "text",
    "releases",
    "state",
    "model",
    "machine",
    "errors",
)
"""The rooms of ``nodes``, top to ground (docs/architecture.md)."""

PUBLIC_FLWR = {"flwr.app", "flwr.clientapp", "flwr.serverapp", "flwr.common", "flwr.simulation"}
INTERNALS = {ROOT / "nodes" / "flower" / f"{name}.py" for name in ("internals", "fleet_server")}
MOST_LINES = 500

HEAVY = {"torch", "transformers", "peft", "matplotlib", "ray", "pandas"}
LIGHT_MODULES = ("protocol", "aggregation", "nodes.daemon", "nodes.cli")

MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:work|home/\w+|root|Users/\w+)/")
REGISTRIES = re.compile(
    r"https?://(?!pypi\.org|files\.pythonhosted\.org)[\w.-]*(?:pypi|artifactory|nexus|mirror)[\w.-]*",
    re.IGNORECASE,
)


def modules(*packages: str) -> list[Path]:
    found = (path for package in packages for path in sorted((ROOT / package).rglob("*.py")))
    return [path for path in found if path not in GENERATED]


def committed_files() -> list[Path]:
    """What is in version control, or would be: not what is ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, also inside functions: ``from a import b`` gives a.b."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} imports relative to itself"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", sorted(MAY_IMPORT))
def test_imports_go_one_way(package: str) -> None:
    ours, allowed = set(PACKAGES), MAY_IMPORT[package]
    wrong = [
        f"{name_of(path)} imports {name}"
        for path in modules(package)
        for name in imports(path)
        if (top := name.partition(".")[0]) in ours and top not in allowed
    ]
    assert not wrong


def between_rooms() -> Iterator[tuple[Path, str, str, str]]:
    """What a file of one room of ``nodes`` imports from another: (file, its room, name, room)."""
    for path in modules("nodes"):
        room = path.relative_to(ROOT / "nodes").parts[0].removesuffix(".py")
        for name in imports(path):
            if name.startswith("nodes.") and (other := name.split(".")[1]) != room:
                yield path, room, name, other


def test_a_room_of_nodes_imports_only_from_rooms_below_it() -> None:
    floor = {room: number for number, room in enumerate(ROOMS)}
    upward = [
        f"{name_of(path)} imports {name}"
        for path, room, name, other in between_rooms()
        if floor[other] <= floor[room]
    ]
    assert not upward


def test_the_front_door_of_a_room_names_every_module_that_other_rooms_use() -> None:
    doors = {
        path.parent.name: ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        for path in (ROOT / "nodes").glob("*/__init__.py")
    }
    assert doors.keys() <= set(ROOMS)
    assert all("Guarantees:" in door and "Knows nothing of" in door for door in doors.values())
    unnamed = {
        name
        for _, _, name, other in between_rooms()
        if other in doors and f"``{name.split('.')[2]}``" not in doors[other]
    }
    assert not unnamed


JOURNEYS = {
    "A text file becomes a release": 20,
    "A rollback reaches a device": 8,
    "A laptop joins": 12,
}
"""How many files a reader opens at most on each journey of docs/architecture.md."""


@pytest.mark.parametrize(("title", "most"), JOURNEYS.items())
def test_a_journey_through_the_code_is_short_and_its_files_exist(title: str, most: int) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    steps = re.findall(
        r"^\d+\. `([\w/]+\.py)`", page.partition(f"## {title}\n")[2].partition("## ")[0], re.M
    )
    assert 0 < len(steps) <= most
    assert len(set(steps)) == len(steps)
    assert not [step for step in steps if not (ROOT / step).is_file()]


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_pure_packages_know_no_model_and_no_federation(package: str) -> None:
    wrong = [
        f"{name_of(path)} imports {name}"
        for path in modules(package)
        for name in imports(path)
        if name.partition(".")[0] in FORBIDDEN[package]
    ]
    assert not wrong


def is_public_flwr(name: str) -> bool:
    """Whether ``a.b.Name`` comes straight from one of Flower's public modules."""
    return name in PUBLIC_FLWR or name.rpartition(".")[0] in PUBLIC_FLWR


def test_flower_internals_are_imported_in_one_file() -> None:
    wrong = [
        f"{name_of(path)} imports {name}"
        for path in modules(*PACKAGES)
        if path not in INTERNALS
        for name in imports(path)
        if name.partition(".")[0] == "flwr" and not is_public_flwr(name)
    ]
    assert not wrong


def test_no_module_is_longer_than_one_can_read() -> None:
    lengths = {
        name_of(path): len(path.read_text("utf-8").splitlines()) for path in modules(*PACKAGES)
    }
    assert not {name: lines for name, lines in lengths.items() if lines > MOST_LINES}


def test_every_module_says_what_it_is_for() -> None:
    empty_marker = {path for path in modules("tests") if path.name == "__init__.py"}
    silent = [
        name_of(path)
        for path in modules(*PACKAGES)
        if path not in empty_marker and not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]
    assert not silent


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in modules(*PACKAGES)}
    assert not [name_of(folder) for folder in folders if not (folder / "__init__.py").exists()]


@pytest.mark.parametrize("module", LIGHT_MODULES)
def test_importing_what_every_node_runs_loads_no_model_library(module: str) -> None:
    assert importlib.util.find_spec(module), f"{module} does not exist"
    loaded = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not HEAVY & set(loaded)


def test_no_file_holds_a_path_of_one_machine_or_a_private_registry() -> None:
    wrong = []
    for path in committed_files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if path != Path(__file__) and (MACHINE_PATHS.search(line) or REGISTRIES.search(line)):
                wrong.append(f"{name_of(path)}:{number}: {line.strip()[:100]}")
    assert not wrong
