"""Claims about logging. Each runs in a process of its own: logging is set up once a process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nodes.errors import NodeError
from nodes.machine.logs import configure

PREAMBLE = """
import logging, sys
from pathlib import Path
import structlog
from nodes.machine import logs
log = structlog.get_logger()
logfile = Path(sys.argv[1])
"""


def run(tmp_path: Path, script: str) -> tuple[list[dict[str, Any]], str]:
    """The JSON lines in the log file, and what came on stderr."""
    logfile = tmp_path / "logs" / "node.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + script, str(logfile)],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = logfile.read_text("utf-8").splitlines() if logfile.exists() else []
    return [json.loads(line) for line in lines], done.stderr


def test_an_event_is_one_line_of_json_with_node_level_and_time(tmp_path: Path) -> None:
    (line,), stderr = run(
        tmp_path,
        "logs.configure(logfile, 'info', 'klinik'); log.info('released', version=3, name='Ärztin')",
    )
    assert line.pop("at").endswith("Z")
    assert line == {
        "event": "released",
        "version": 3,
        "name": "Ärztin",
        "node": "klinik",
        "level": "info",
        "logger": "__main__",
    }
    assert stderr == ""


def test_lines_of_other_libraries_look_the_same(tmp_path: Path) -> None:
    (line,), _ = run(
        tmp_path,
        "logs.configure(logfile, 'info', 'n'); logging.getLogger('lib').warning('%d left', 3)",
    )
    assert (line["event"], line["logger"], line["node"]) == ("3 left", "lib", "n")


def test_what_is_below_the_level_is_left_out(tmp_path: Path) -> None:
    lines, _ = run(
        tmp_path,
        "logs.configure(logfile, 'warning', 'n'); log.info('no'); log.error('yes')",
    )
    assert [line["event"] for line in lines] == ["yes"]


def test_an_exception_is_kept_with_its_trace(tmp_path: Path) -> None:
    (line,), _ = run(
        tmp_path,
        """
logs.configure(logfile, 'info', 'n')
try:
    1 / 0
except ZeroDivisionError:
    log.exception('failed')
""",
    )
    assert "ZeroDivisionError" in line["exception"]


def test_without_a_file_lines_go_to_stderr(tmp_path: Path) -> None:
    _, stderr = run(tmp_path, "logs.configure(None, 'info', 'n'); log.info('here')")
    assert json.loads(stderr)["event"] == "here"


def test_configuring_again_replaces_what_was_there(tmp_path: Path) -> None:
    lines, _ = run(
        tmp_path,
        """
logs.configure(logfile, 'info', 'first')
logs.configure(logfile, 'info', 'second')
log.info('once')
""",
    )
    assert [(line["event"], line["node"]) for line in lines] == [("once", "second")]


def test_an_adopted_library_writes_nowhere_else(tmp_path: Path) -> None:
    lines, stderr = run(
        tmp_path,
        """
noisy = logging.getLogger('noisy')
noisy.addHandler(logging.StreamHandler()); noisy.propagate = False
logs.configure(logfile, 'info', 'n')
logs.adopt('noisy')
noisy.warning('hello')
""",
    )
    assert [line["event"] for line in lines] == ["hello"]
    assert stderr == ""


def test_the_files_stay_within_their_bound(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
logs.FILE_BYTES = 2000
logs.configure(logfile, 'info', 'n')
for number in range(200):
    log.info('line', number=number)
""",
    )
    sizes = [file.stat().st_size for file in (tmp_path / "logs").iterdir()]
    assert len(sizes) == 4
    assert sum(sizes) <= 4 * 2000


def test_a_log_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    with pytest.raises(NodeError, match=r"no-log: The log .*node\.jsonl cannot be written"):
        configure(tmp_path / "logs" / "node.jsonl", "info", "n")


def test_a_log_that_can_be_written_no_more_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    lines, stderr = run(
        tmp_path,
        """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
logs.configure(logfile, 'info', 'n')
log.info('one')
resource.setrlimit(resource.RLIMIT_FSIZE, (logfile.stat().st_size, resource.RLIM_INFINITY))
log.info('two')
log.info('three')
""",
    )
    assert [line["event"] for line in lines] == ["one"]
    assert stderr.count("\n") == 1
    assert "cannot be written" in stderr


def test_at_a_terminal_what_it_would_obey_is_written_out(tmp_path: Path) -> None:
    _, stderr = run(
        tmp_path,
        """
sys.stderr.isatty = lambda: True
logs.configure(None, 'info', 'n')
log.info('joined\x1b]0;title\x07', name='\u202eevil')
""",
    )
    assert r"\x1b]0;title\x07" in stderr
    assert r"\u202eevil" in stderr
    assert not {"\x07", "\u202e"} & set(stderr)
