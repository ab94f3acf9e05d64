"""Say in one sentence what an error means that no code of ours gave a sentence to."""

from __future__ import annotations

import errno
import json
import sqlite3
import sys
import zipfile

from aggregation import AggregationError
from nodes.errors import NodeError
from nodes.machine.terminal import in_one_line
from protocol import ProtocolError

OWN_PACKAGES = ("protocol", "aggregation", "nodes", "simulations")

_OF_THE_SYSTEM = {
    errno.ENOENT: "no-file",
    errno.EACCES: "no-permission",
    errno.EPERM: "no-permission",
    errno.EROFS: "read-only",
    errno.ENOSPC: "disk-full",
    errno.EDQUOT: "disk-full",
    errno.EISDIR: "is-a-folder",
    errno.ENOTDIR: "no-folder",
    errno.EMFILE: "too-many-files",
    errno.ENFILE: "too-many-files",
    errno.EADDRINUSE: "address-taken",
}
_WHERE = "`banyan --debug …` shows where."


def explained(error: Exception) -> tuple[str, str]:
    """Return a stable code and a sentence for any error.

    Errors of ours have both. The system's name the path; those of a library name the library; any
    other is a mistake in the code, ``internal-error``.
    """
    if isinstance(error, NodeError | ProtocolError | AggregationError):
        return error.code, error.sentence
    if isinstance(error, OSError) and error.errno is not None:
        return _OF_THE_SYSTEM.get(error.errno, "system-error"), _of_the_system(error)
    said = in_one_line(str(error), 300).rstrip(".") or type(error).__name__
    if isinstance(error, MemoryError):
        return "no-memory", "The memory of this machine does not suffice for this."
    if isinstance(error, sqlite3.Error):
        return "broken-database", f"A database cannot be read or written: {said}. {_WHERE}"
    if isinstance(error, zipfile.BadZipFile):
        return "bad-zip", f"A file is no whole zip file: {said}. {_WHERE}"
    if isinstance(error, json.JSONDecodeError):
        return "bad-json", f"A file is not valid JSON: {said}. {_WHERE}"
    if isinstance(error, UnicodeDecodeError):
        return "bad-text", f"A file is not UTF-8 text: {said}. {_WHERE}"
    library, name = _raised_in(error), type(error).__name__
    if library:
        return "library-error", f"{library} refused this: {name}: {said}. {_WHERE}"
    return "internal-error", f"Banyan made a mistake: {name}: {said}. {_WHERE}"


def _of_the_system(error: OSError) -> str:
    paths = [str(path) for path in (error.filename, error.filename2) if path is not None]
    said = (error.strerror or str(error)).rstrip(".")
    return f"{' → '.join(paths)}: {said}." if paths else f"The system refused this: {said}."


def _raised_in(error: Exception) -> str:
    """Return the library whose code raised an error; nothing if it was ours.

    What the standard library raises counts for whoever called it.
    """
    own = type(error).__module__.partition(".")[0]
    if own not in sys.stdlib_module_names | {*OWN_PACKAGES, "__main__"}:
        return own.removesuffix("_rust")
    trace, library = error.__traceback__, ""
    while trace is not None:
        package = str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in sys.stdlib_module_names:
            installed = "site-packages" in trace.tb_frame.f_code.co_filename
            library = package if installed and package not in OWN_PACKAGES else ""
        trace = trace.tb_next
    return library
