"""Runs at the start of each Python of a check. Lets unittest record its results, then runs the next sitecustomize."""

import importlib.machinery
import importlib.util
import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


class _UnittestFinder:
    """Finds `unittest.runner` as usual, and installs the recorder once it has been loaded."""

    def find_spec(self, name, path=None, target=None):
        if name != "unittest.runner":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader:
    def __init__(self, loader):
        self._loader = loader

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        self._loader.exec_module(module)
        import nightcrew_unittest  # only now: it costs time at the start of every Python

        nightcrew_unittest.install(module)

    def __getattr__(self, name):
        return getattr(self._loader, name)


def _run_next():
    entries = [entry for entry in sys.path if os.path.abspath(entry) != _HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", entries)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


if "NIGHTCREW_RESULTS" in os.environ:
    sys.meta_path.insert(0, _UnittestFinder())
_run_next()
