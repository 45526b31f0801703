"""`nightcrew`: thin commands over the store and the supervisor.

    app            the command group, and errors as one line with an exit code
    lazy           imports a command when it is called
    options        options that every command has
    names          finds the agent or project that is meant
    output         JSON, lines and tables
    wording        readable texts for stored codes
    waiting, live  `run --wait`, and its table on a terminal
    report, report_page    the report as text and as a page
    log_view       reads log files
    commands/      one module per group of commands

A command reads or writes the store and reports what happened. Nothing here decides anything about the crew.
Modules import what is slow inside functions, so that `send` and `status` start in 200 ms.
"""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """The entry point of the console script. Ends the process with the command's exit code."""
    # Imports create 80,000 objects and no garbage; collecting all the same takes a tenth of the time of `status`.
    gc.set_threshold(100_000)
    from supervisor.cli.app import run

    code = run(sys.argv[1:])
    # At exit Python collects twice and takes SQLAlchemy apart, which costs a fifth of `status`.
    gc.freeze()
    sys.exit(code)
