"""What the campaigns have counted, at the end of a run; with several processes too."""

from __future__ import annotations

from typing import Any

COUNTED = "counted"  # the property of a test that holds the lines


def write_counts(terminalreporter: Any) -> None:
    """For pytest's hook, in tests/conftest.py."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, [])]
    lines = [line for report in reports for name, found in report.user_properties if name == COUNTED for line in found]
    if lines:
        terminalreporter.section("what the campaigns met")
        for line in lines:
            terminalreporter.write_line(line)
