"""Commands that other packages add to ``banyan``, and what happens when they cannot be loaded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from nodes.cli.output import print_json
from nodes.cli.plugins import GROUP, add_plugins


def plugin(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, GROUP)


def run(entries: list[EntryPoint], *words: str) -> Result:
    """Call a command line that has a command ``node`` of its own and these plugins."""
    app = typer.Typer(no_args_is_help=True)
    app.command("node")(lambda: print_json("its own"))
    add_plugins(app, entries)
    return CliRunner().invoke(app, words)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An importable module with a command, a group and a command that lacks a package."""
    (tmp_path / "an_added_package.py").write_text(
        '''
import typer

group = typer.Typer()

@group.command("one")
def one() -> None: ...

@group.command("two")
def two(times: int = 1) -> None:
    typer.echo("two " * times)

def greet(name: str, *, loud: bool = False) -> None:
    """Greet somebody."""
    typer.echo(f"hello {name}{'!' if loud else ''}")

def draw() -> None:
    import a_missing_library

def misspelt() -> None:
    import nodes.no_such_module
''',
        "utf-8",
    )
    (tmp_path / "a_broken_package.py").write_text("def greet(:\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield "an_added_package"
    for name in ("an_added_package", "a_broken_package"):
        sys.modules.pop(name, None)


def test_a_function_becomes_a_command_with_its_own_options_and_help(package: str) -> None:
    entry = plugin("greet", f"{package}:greet")
    assert run([entry], "greet", "--loud", "you").stdout == "hello you!\n"
    assert "Greet somebody." in run([entry], "greet", "--help").stdout


def test_an_app_becomes_a_group_of_commands(package: str) -> None:
    result = run([plugin("group", f"{package}:group")], "group", "two", "--times", "2")
    assert (result.exit_code, result.stdout.split()) == (0, ["two", "two"])


def test_a_mistake_on_the_command_line_of_a_plugin_is_a_usage_error(package: str) -> None:
    result = run([plugin("greet", f"{package}:greet")], "greet")
    assert (result.exit_code, "NAME" in result.stderr) == (2, True)


def test_help_names_a_plugin_without_importing_it(package: str) -> None:
    assert "greet" in run([plugin("greet", f"{package}:greet")], "--help").stdout
    assert package not in sys.modules


def test_a_plugin_never_replaces_a_command_of_nodes(package: str) -> None:
    assert run([plugin("node", f"{package}:greet")], "node").stdout == '"its own"\n'


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("a_broken_package:greet", "broken-plugin"),
        ("an_added_package:nothing", "broken-plugin"),
        ("a_package_that_nobody_has:app", "not-installed"),
        ("an_added_package:draw", "not-installed"),
    ],
    ids=["syntax error", "no such name", "package missing", "library missing when called"],
)
def test_a_plugin_that_cannot_run_costs_one_command_and_says_so(
    package: str, value: str, code: str
) -> None:
    entries = [plugin("other", value), plugin("greet", f"{package}:greet")]
    result = run(entries, "other")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"{code}: `banyan other`")
    assert result.stderr.count("\n") == 1
    assert run(entries, "greet", "you").exit_code == 0


def test_a_missing_module_of_ours_is_a_mistake_and_not_a_package_to_install(package: str) -> None:
    result = run([plugin("other", f"{package}:misspelt")], "other")
    assert result.stderr.startswith("internal-error: Banyan made a mistake: ModuleNotFoundError")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)


def test_without_simulations_the_demo_says_what_to_install_and_help_is_silent_about_it() -> None:
    result = run([], "demo", "--quick")
    assert result.exit_code == 1
    assert "pip install 'banyan-fl[simulations]'" in result.stderr
    assert "demo" not in run([], "--help").stdout


def test_help_of_the_whole_command_loads_no_simulation_and_no_model() -> None:
    script = (
        "import sys; from nodes.cli.app import app\n"
        "try: app(['--help'])\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "demo" in result.stdout
    loaded = {name.partition(".")[0] for name in result.stderr.split()}
    assert not loaded & {"simulations", "numpy", "torch", "flwr", "matplotlib", "ray"}
