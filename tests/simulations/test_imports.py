"""No part of ``simulations`` imports another in a circle, not even where only types are checked."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import simulations

ROOT = Path(simulations.__file__).parent
NAME = re.compile(r"simulations(\.\w+)+")


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_of(path): path for path in ROOT.rglob("*.py")}


def imported(path: Path) -> set[str]:
    """The modules of ``simulations`` that a file names in imports or for ``import_module``."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            names |= {name if name in FILES else node.module for name in below}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
            names |= {str(a.value) for a in node.args if isinstance(a, ast.Constant)}
    return {name for name in names if NAME.fullmatch(name)}


def packages() -> dict[str, set[str]]:
    """Of each sub-package, or module beside them, those that it imports from."""
    graph: dict[str, set[str]] = {}
    for module, path in FILES.items():
        own = ".".join(module.split(".")[:2])
        others = {".".join(name.split(".")[:2]) for name in imported(path)}
        graph.setdefault(own, set()).update(others - {own})
    return graph


def modules() -> dict[str, set[str]]:
    """Of each module those that it imports; a name of a package stands for its front door."""
    return {
        module: {name for name in imported(path) if name in FILES and name != module}
        for module, path in FILES.items()
    }


def sorted_out(graph: Mapping[str, set[str]]) -> list[str]:
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_no_sub_packages_import_each_other_in_a_circle() -> None:
    order = sorted_out(packages())
    assert order.index("simulations.experiment") < order.index("simulations.world")
    assert order.index("simulations.world") < order.index("simulations.runner")


def test_no_modules_import_each_other_in_a_circle() -> None:
    order = sorted_out(modules())
    assert order.index("simulations.chaos.world") < order.index("simulations.chaos.faults")
