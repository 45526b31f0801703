"""Writes one test run's results into a file that ends with a mark of its own.

Runs inside the checked project's Python, whatever its version, so it uses only old syntax and the standard
library. The first line of a file is written when the runner starts, the rest in one piece when it has ended:
a process that exits in the middle leaves a file without an end. The mark is an HMAC of everything before it;
its key is taken out of the environment before any code of the project is imported.
"""

import builtins
import hashlib
import hmac
import importlib.machinery
import json
import os
import sys

FOLDER, KEY = "NIGHTCREW_RESULTS", "NIGHTCREW_RESULTS_KEY"
_GUARDED = (
    "_pytest.runner", "_pytest.reports", "_pytest.python", "_pytest.main", "_pytest.unittest",
    "_pytest.raises", "_pytest.python_api", "_pytest.outcomes", "_pytest.assertion.rewrite", "_pytest.terminal",
    "unittest.case", "unittest.result", "unittest.suite", "unittest.loader", "unittest.runner", "unittest.main",
)  # fmt: skip


class Recorder:
    """Collects outcomes by test id. `passed`, `skipped`, `failed` and `error`; of several the last one counts."""

    active = None
    _functions = {}
    _place = None

    def __init__(self, runner):
        self.runner = runner
        self.tests = {}
        self.settings = []
        folder, self._key = Recorder._place
        name = "%s-%d-%s.jsonl" % (runner, os.getpid(), os.urandom(8).hex())
        self._path = os.path.join(folder, name)
        self._head = json.dumps({"runner": runner}) + "\n"
        with open(self._path, "x", encoding="utf-8") as file:
            file.write(self._head)

    @classmethod
    def guard(cls):
        """Remember the functions that decide, before any code of the project is imported."""
        cls._functions = guarded_functions()

    @classmethod
    def start(cls, runner):
        """A recorder, or None if no results are wanted or another run of this process is being recorded."""
        if FOLDER in os.environ:
            cls._place = os.environ.pop(FOLDER), os.environ.pop(KEY, "").encode()
        if cls._place is None or cls.active is not None:
            return None
        try:
            cls.active = cls(runner)
        except OSError:
            return None
        return cls.active

    def add(self, test, outcome):
        """Remember how a test ended. A failure or an error is never replaced by something better."""
        order = ("skipped", "passed", "failed", "error")
        known = self.tests.get(test)
        if known is None or order.index(outcome) > order.index(known):
            self.tests[test] = outcome

    def finish(self):
        """Write everything, with the end mark."""
        Recorder.active = None
        lines = [json.dumps({"id": test, "outcome": outcome}) for test, outcome in self.tests.items()]
        lines.append(
            json.dumps(
                {
                    "replaced": sorted(_replaced(self._functions))[:20],
                    "shadowing": sorted(_shadowing())[:20],
                    "settings": self.settings[:50],
                }
            )
        )
        body = "\n".join(lines) + "\n"
        mark = hmac.new(self._key, (self._head + body).encode(), hashlib.sha256).hexdigest()
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(body + json.dumps({"end": mark}) + "\n")


def guarded_functions():
    """The functions that decide about a test's outcome, by name: those of pytest, unittest and the builtins."""
    found = {"builtins." + name: value for name, value in vars(builtins).items() if callable(value)}
    for module_name in _GUARDED:
        module = sys.modules.get(module_name)
        for name, value in list(vars(module).items()) if module else ():
            if isinstance(value, type) and value.__module__ == module_name:
                for inner, function in list(vars(value).items()):
                    if callable(function):
                        found["%s.%s.%s" % (module_name, name, inner)] = function
            elif callable(value) and getattr(value, "__module__", None) == module_name:
                found["%s.%s" % (module_name, name)] = value
    return found


def _replaced(before):
    """Names of the guarded functions that were monkeypatched since the start."""
    now = guarded_functions()
    return [name for name, value in before.items() if name not in now or now[name] is not value]


def is_of_the_project(path):
    """Whether a file is the project's own: below the current folder and not installed there."""
    here = os.path.realpath(os.getcwd()) + os.sep
    real = os.path.realpath(path)
    return real.startswith(here) and os.sep + "site-packages" + os.sep not in real


def own_modules():
    """(name, file) of the imported top-level modules that are the project's own files."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if "." not in name and name != "__main__" and isinstance(file, str) and is_of_the_project(file):
            yield name, file


def _shadowing():
    """Names of the project's modules that hide an installed one or one of the standard library."""
    elsewhere = [entry for entry in sys.path if entry and not is_of_the_project(os.path.join(entry, "x"))]
    for name, _ in own_modules():
        try:
            spec = importlib.machinery.PathFinder.find_spec(name, elsewhere)
        except Exception:  # noqa: BLE001 - a broken installation says nothing about the project
            continue
        if spec is not None and spec.origin and not is_of_the_project(spec.origin):
            yield name
