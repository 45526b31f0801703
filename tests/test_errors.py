"""Every error has one root, which gives the command line its exit code, and is drawn in its package's tree."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re

import actors
import store
import supervisor
from store.errors import NightcrewError

# Deliberately outside of the tree, each for its reason.
OTHERS = {
    "supervisor.process.warm_up.TooSlow": "no Exception: an actor would record it and retry",
}
TREES = ("store.errors", "actors.errors", "supervisor.errors")


def _errors() -> set[type[BaseException]]:
    """All public exception classes that are defined in the three packages."""
    found: set[type[BaseException]] = set()
    for package in (store, actors, supervisor):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name.endswith("__main__") or ".migrations." in module.name:
                continue
            for name, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
                if name.startswith("_"):
                    continue  # a module may raise and catch an exception of its own
                if issubclass(kind, BaseException) and kind.__module__ == module.name:
                    found.add(kind)
    return found


def test_every_error_derives_from_the_root() -> None:
    named = {
        f"{kind.__module__}.{kind.__name__}" for kind in _errors() if not issubclass(kind, NightcrewError)
    }
    assert named == set(OTHERS)


def test_errors_are_drawn_in_a_tree_with_their_exit_codes() -> None:
    """Except a kind that one module raises and catches below a kind that is drawn."""
    kinds = [kind for kind in _errors() if issubclass(kind, NightcrewError)]
    drawn: dict[str, int | None] = {}
    for kind in kinds:
        for name in {*TREES, kind.__module__}:
            tree = importlib.import_module(name).__doc__ or ""
            if line := re.search(rf"^[|├│└`\-─ ]*{kind.__name__}\b,? +(\d+ )?", tree, re.MULTILINE):
                drawn[kind.__name__] = int(line[1]) if line[1] else drawn.get(kind.__name__)
    for kind in kinds:
        code = vars(kind).get("exit_code")
        public = kind.__module__.endswith(".errors") or kind.__base__ is NightcrewError
        assert kind.__name__ in drawn or not (public or code), f"{kind} is in no tree"
        assert drawn.get(kind.__name__) == code, f"{kind} has exit code {code}"
