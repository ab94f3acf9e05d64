"""Logs: one line an event, JSON for programs, coloured text for a person at a terminal.

Everything goes one way, the library's own events and those of other libraries alike: through
structlog's processors to handlers of the standard library. The file is bounded: it rotates.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import sys
from pathlib import Path

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from nodes.errors import NodeError
from nodes.machine.terminal import in_one_line, visible

FILE_BYTES = 8 * 1024 * 1024
"""Bytes of one log file before it rotates."""
FILES_KEPT = 3
"""Rotated files that are kept beside the current one."""

_TALKATIVE = ("httpx", "httpcore", "urllib3", "filelock", "asyncio", "uvicorn", "alembic", "flwr")
"""Libraries that log every request or lock: from them only warnings, unless all is wanted."""

_installed: list[logging.Handler] = []


def configure(
    logfile: Path | None, level: str, node_name: str, *, stderr: bool | None = None
) -> None:
    """Set up logging for this process. Calling it again replaces what it had set up.

    Args:
        logfile: JSON lines go here as well; its folder is made. At most
            ``(FILES_KEPT + 1) * FILE_BYTES`` bytes.
        level: ``debug``, ``info``, ``warning`` or ``error``.
        node_name: stands in every line as ``node``.
        stderr: whether to write to stderr, as text at a terminal and JSON elsewhere. Not given:
            at a terminal, or when there is no file.

    Raises ``NodeError`` ``no-log`` when the file cannot be written.
    """
    at_terminal = sys.stderr.isatty()
    if stderr is None:
        stderr = at_terminal or logfile is None

    def named(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event.setdefault("node", node_name)
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        named,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handlers: list[logging.Handler] = []
    if logfile is not None:
        to_file = _open(logfile)
        to_file.setFormatter(_formatter(shared, as_text=False))
        handlers.append(to_file)
    if stderr:
        to_stderr = logging.StreamHandler(sys.stderr)
        to_stderr.setFormatter(_formatter(shared, as_text=at_terminal))
        handlers.append(to_stderr)
    _install(handlers, level)


class _BoundedFile(logging.handlers.RotatingFileHandler):
    """A file that rotates. What cannot be written is lost, which is said once on stderr."""

    _said = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        """Say in one line that a line could not be written, instead of logging's traceback."""
        if not self._said:
            self._said = True
            why = in_one_line(str(sys.exc_info()[1]))
            sys.stderr.write(f"The log {self.baseFilename} cannot be written: {why}.\n")


def _open(logfile: Path) -> logging.Handler:
    try:
        logfile.parent.mkdir(parents=True, exist_ok=True)
        return _BoundedFile(
            logfile,
            maxBytes=FILE_BYTES,
            backupCount=FILES_KEPT,
            encoding="utf-8",
            errors="backslashreplace",
        )
    except OSError as error:
        raise NodeError(
            "no-log",
            f"The log {logfile} cannot be written: {error.strerror}. A node that runs needs a "
            "state folder that it may write to.",
        ) from None


def tell(sentence: str) -> None:
    """Write a line to stderr for the person who started this process.

    Only where the log does not go there anyway: at a terminal its warnings say the same.
    """
    streams = (h for h in _installed if type(h) is logging.StreamHandler)
    if any(handler.stream is sys.stderr for handler in streams):
        return
    with contextlib.suppress(OSError, ValueError):  # closed, or nobody reads it any more
        sys.stderr.write(f"{sentence}\n")
        sys.stderr.flush()


def adopt(*names: str) -> None:
    """Take over loggers whose libraries gave them handlers of their own, such as ``flwr``.

    Call it after those libraries were imported: their lines then come once, in our form.
    """
    for name in names:
        logger = logging.getLogger(name)
        for handler in logger.handlers[:]:
            logger.removeHandler(handler)
        logger.propagate = True


def _install(handlers: list[logging.Handler], level: str) -> None:
    root = logging.getLogger()
    for handler in _installed:
        root.removeHandler(handler)
        handler.close()
    _installed[:] = handlers
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level.upper())
    for name in _TALKATIVE:
        quiet = logging.NOTSET if level == "debug" else logging.WARNING
        logging.getLogger(name).setLevel(quiet)
    logging.captureWarnings(True)


def _shown(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Write out what the terminal would obey: names and sentences may come from others."""
    return {key: visible(v) if isinstance(v, str) else v for key, v in event.items()}


def _formatter(shared: list[Processor], *, as_text: bool) -> logging.Formatter:
    ending: list[Processor]
    if as_text:
        ending = [_shown, structlog.dev.ConsoleRenderer()]
    else:
        ending = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
    )
