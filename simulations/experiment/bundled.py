"""The experiments that come with the package, and finding one by its name or its path."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from nodes.errors import NodeError
from simulations.experiment.sweep import Experiment, read_experiment

_FOLDER = files("simulations") / "experiments"
_ENDING = ".toml"


def bundled() -> tuple[str, ...]:
    """The names of the bundled experiments, sorted."""
    names = (item.name for item in _FOLDER.iterdir())
    return tuple(sorted(name.removesuffix(_ENDING) for name in names if name.endswith(_ENDING)))


def load_experiment(
    name_or_path: str, *, quick: bool = False, overrides: Mapping[str, Any] | None = None
) -> Experiment:
    """Read a bundled experiment by its name, or any by the path of its file.

    What names a file with ``.toml`` or a folder is a path. See ``read_experiment``.

    Raises:
        NodeError: ``no-experiment``, ``bad-experiment``.
    """
    folder = None
    if name_or_path in bundled():
        where, text = name_or_path, (_FOLDER / f"{name_or_path}{_ENDING}").read_text("utf-8")
    elif name_or_path.endswith(_ENDING) or "/" in name_or_path:
        path = Path(name_or_path)
        try:
            where, text, folder = str(path), path.read_text("utf-8-sig"), path.parent
        except (OSError, UnicodeDecodeError) as error:
            raise NodeError("no-experiment", f"{path} cannot be read: {error}.") from None
    else:
        raise NodeError(
            "no-experiment",
            f"There is no experiment {name_or_path}. There are {', '.join(bundled())}; "
            "an experiment of your own is named by the path of its .toml file.",
        )
    return read_experiment(text, where, folder=folder, quick=quick, overrides=overrides)


def first_sentence(text: str) -> str:
    """Up to the first full stop or question mark that ends a sentence."""
    ends = [at for mark in (". ", "? ") if (at := text.find(mark)) >= 0]
    return text[: min(ends) + 1] if ends else text
