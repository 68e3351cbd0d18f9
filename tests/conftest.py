"""With NARROWS_NO_SKIPS=1, as in CI, a test that is skipped for a missing part fails the whole.

Data sets may be missing, and so may what the machine cannot have: another C library.
"""

import os

import pytest

MAY_LACK = (
    "NARROWS_DATA",
    "data set",
    "are not here",
    "SCIPY_ARRAY_API",
    "glibc",
    "git ",
)


class Skips:
    """Collects what was skipped, in this process or, under xdist, in its workers."""

    def __init__(self, config):
        self.config, self.found = config, []

    def note(self, report):
        if report.skipped and not hasattr(report, "wasxfail"):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            if not any(word in reason for word in MAY_LACK):
                self.found.append(f"{report.nodeid}: {reason}")

    def pytest_runtest_logreport(self, report):
        self.note(report)

    def pytest_collectreport(self, report):
        self.note(report)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node):
        self.found += getattr(node, "workeroutput", {}).get("skipped", [])

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session):
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput["skipped"] = self.found
        elif self.found:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        for line in dict.fromkeys(self.found):
            terminalreporter.write_line(f"skipped, but must run here: {line}", red=True)


def pytest_configure(config):
    if os.environ.get("NARROWS_NO_SKIPS") == "1":
        config.pluginmanager.register(Skips(config))
