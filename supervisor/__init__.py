"""The supervisor, which starts and monitors the processes, and the user interface: command line, reports.

May import everything in `actors` and `store`; nothing imports it. One process per home runs `loop.Supervisor`;
every command of `cli/` is another process, and they share nothing but the store and the files in the home.

    loop           the thread that starts and stops children
    run            one supervisor, from its lock to its last child's exit
    background     starts the supervisor as a background process
    deadlines      kills agents that make no progress
    archiving      archives ended projects
    service        systemd and launchd
    errors         what the supervisor and the command line can refuse
    policy/, process/    what to do about an exit, and doing it
    config/        the configuration
    project_spec/  from a spec to a project
    health/        status and doctor
    upkeep/        housekeeping, sleep, clocks
    trials/        rehearsal and drill
    cli/           the command line
"""
