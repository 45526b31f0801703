"""`nightcrew`: thin commands over the store and the supervisor. One file per group of commands.

`app.py` is what they share (options, output, errors), `lazy.py` imports a command when it is called,
`names.py` finds the agent or project that is meant. A command reads or writes the store and says what
truly happened; nothing here decides anything about the crew.

    app.py      options, the way out, errors into one line    start.py    up, down, and starting a crew
    work.py     run, deploy, tasks                            talk.py     send, prompt, inbox, letters
    crew.py     status, info, history, incidents              control.py  pause, resume, cancel, stop, restart
    team.py     create, archive
    clock.py    schedule                                      look.py     log, attach, completion
    proof.py    doctor, report, rehearse, drill
"""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """The console script's entry; ends the process with the exit status that is true."""
    # Imports make no garbage worth collecting: a `status` makes 80,000 objects, and looking through them all
    # the time costs it a tenth.
    gc.set_threshold(100_000)
    from supervisor.cli.app import run

    code = run(sys.argv[1:])
    # At its exit Python collects twice, and would take SQLAlchemy apart piece by piece: a fifth of a `status`.
    gc.freeze()
    sys.exit(code)
