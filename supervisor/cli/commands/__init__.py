"""The commands of `nightcrew`, one module per group. Each is imported only when it is called (`cli/lazy.py`).

    work       run, deploy, tasks
    report     report, incidents
    status     status
    agents     info, history
    watch      log, attach, completion
    talk       send, prompt
    inbox      inbox, letters
    schedule   schedule
    control    pause, resume, cancel, stop, restart
    team       create, archive
    start      up, down
    doctor     doctor
    service    service install, uninstall, status
    trials     rehearse, drill

May import everything below. The one thing to know: a command decides nothing. What a change of a project's
state means is in `actors.work.lifecycle`.
"""
