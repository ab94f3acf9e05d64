"""How the tests run. Properties have no deadline: a busy machine is no reason to fail."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings

settings.register_profile("banyan", deadline=None)
settings.load_profile("banyan")

LONG_S = 2.0


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List the tests that took long and are not marked ``slow``; a busy machine lists more."""
    seconds: Counter[str] = Counter()
    for report in (report for each in terminalreporter.stats.values() for report in each):
        if getattr(report, "when", "") == "call" and "slow" not in report.keywords:
            seconds[report.nodeid] = report.duration
    for test, spent in seconds.most_common():
        if spent > LONG_S:
            terminalreporter.write_line(f"not marked slow: {test} took {spent:.1f} s")
