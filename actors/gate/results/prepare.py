"""The shell lines before a check's command that make its test runners load our recorders."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

RECORDERS = Path(__file__).parent / "recorders"

# The tests of a deliverable that is not written yet often cannot be imported. pytest would then run no test at
# all, and other deliverables could not be judged. With these options it continues and lists the failures.
PYTEST_OPTIONS = "--continue-on-collection-errors --maxfail=0 -rfE"
_OWN_PYTHONPATH = re.compile(r"(^|[\s;&|(])PYTHONPATH=(?=\S)")
_NODE_TEST = re.compile(r"\bnode\b[^\n;&|]{0,200} --test\b")
_REPORTER_CHOSEN = "--test-reporter"
_LOAD_FAILED = re.compile(
    r"Error importing plugin \"nightcrew_pytest\"|No module named '?nightcrew_|nightcrew_node\.cjs'?\n"
)
MAX_MANIFEST_BYTES = 1_000_000


def prepared(command: str, folder: str, key: str, *, reads_node_tests: bool) -> str:
    """`command` with the recorders' variables. `folder` is the results' folder, relative to the worktree."""
    recorders = str(RECORDERS)
    hook = shlex.quote(json.dumps(f"{recorders}/nightcrew_node.cjs"))
    lines = [
        f'export NIGHTCREW_RESULTS="$PWD/{folder}" NIGHTCREW_RESULTS_KEY={key}',
        f'export NIGHTCREW_PYTEST_ADDOPTS="${{PYTEST_ADDOPTS-}} {PYTEST_OPTIONS}"',
        'export PYTEST_ADDOPTS="$NIGHTCREW_PYTEST_ADDOPTS -p nightcrew_pytest"',
        f'export PYTHONPATH={shlex.quote(recorders)}"${{PYTHONPATH:+:$PYTHONPATH}}"',
        # tox passes only the variables that it is told to.
        "export TOX_OVERRIDE='testenv.pass_env+=NIGHTCREW_*,PYTEST_ADDOPTS,PYTHONPATH'",
        f'export NODE_OPTIONS="${{NODE_OPTIONS-}} --require "{hook}',
    ]
    if reads_node_tests:
        reporter = shlex.quote(json.dumps(f"--test-reporter={recorders}/nightcrew_node_test.mjs"))
        lines.append(
            f'if NODE_OPTIONS="$NODE_OPTIONS "{reporter} node -e 0 2>/dev/null; '
            f'then export NODE_OPTIONS="$NODE_OPTIONS "{reporter}; fi'
        )
    own_path = _OWN_PYTHONPATH.sub(rf"\1PYTHONPATH={shlex.quote(recorders)}:", command)
    return "\n".join([*lines, own_path])


def unprepared(command: str) -> str:
    """`command` without recorders, for an environment that cannot load them."""
    return f'export PYTEST_ADDOPTS="${{PYTEST_ADDOPTS-}} {PYTEST_OPTIONS}"\n{command}'


def could_not_load(output: str) -> bool:
    """Whether a runner failed because it could not load a recorder."""
    return _LOAD_FAILED.search(output[:20_000] + output[-20_000:]) is not None


def runs_node_tests(command: str, worktree: Path) -> bool:
    """Whether the command or a script of package.json starts `node --test` without choosing a reporter."""
    text = command
    manifest = worktree / "package.json"
    if manifest.is_file() and not manifest.is_symlink() and manifest.stat().st_size <= MAX_MANIFEST_BYTES:
        text += "\n" + manifest.read_text(encoding="utf-8", errors="replace").replace("\\n", " ")
    return _NODE_TEST.search(text) is not None and _REPORTER_CHOSEN not in text
