"""A pytest plugin that records every test's outcome. Loaded by PYTEST_ADDOPTS, before any conftest.py."""

import os

import nightcrew_recorder
import pytest

nightcrew_recorder.Recorder.guard()
# Modules of the project that are loaded before any conftest.py are plugins, named by a setting.
_PLUGINS = [file for _, file in nightcrew_recorder.own_modules()]


def pytest_configure(config):
    """Begin to record, unless this is a worker of pytest-xdist: its reports reach the main process."""
    options = os.environ.pop("NIGHTCREW_PYTEST_ADDOPTS", None)
    if options is not None:
        # A pytest that the tests start themselves is not ours.
        os.environ["PYTEST_ADDOPTS"] = options
    if hasattr(config, "workerinput"):
        return
    recorder = nightcrew_recorder.Recorder.start("pytest")
    if recorder is not None:
        here = os.path.realpath(os.getcwd())
        recorder.settings = [os.path.relpath(os.path.realpath(file), here) for file in _PLUGINS]
        config.pluginmanager.register(_Recording(recorder), "nightcrew_recording")


class _Recording:
    def __init__(self, recorder):
        self._recorder = recorder

    def pytest_collectreport(self, report):
        if report.failed:
            self._recorder.add(report.nodeid, "error")
        elif report.skipped:
            self._recorder.add(report.nodeid, "skipped")

    def pytest_runtest_logreport(self, report):
        is_subtest = type(report).__name__.lower() == "subtestreport"
        if report.outcome == "failed":
            self._recorder.add(report.nodeid, "failed" if report.when == "call" else "error")
        elif report.outcome == "skipped" and not is_subtest:
            self._recorder.add(report.nodeid, "skipped")
        elif report.outcome == "passed" and report.when == "call" and not is_subtest:
            self._recorder.add(report.nodeid, "passed")

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_sessionfinish(self):
        yield
        self._recorder.finish()
