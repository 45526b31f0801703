"""The crew's one SQLite file: typed rows and the only ways to change them.

It knows no process, no tmux, no git and no model, and imports nothing of the other packages. `schema/tables.py`
declares the tables, `rows.py` the dataclasses that reads return, and `states.py` the enums. Each of the other
modules owns the SQL statements of a few tables. Every function takes the open `Store` to read, or a `Transaction`
to write.

    inbox          messages
    history, entries    agents' conversations, and what each kind of row holds
    journal        intents and outcomes of tools
    tasks          tasks, their transitions, the gate's runs
    crew           projects and agents
    timers         check-ins
    facts, incidents, insights    latest observations, problems and events, findings shared between projects
    engine/        connections, transactions, the writers' lock, the fencing token
    schema/        the tables
    migrations/    the versions of the schema
    upkeep/        creating, checking, backing up and pruning the file
    shared/        mechanisms that all packages use
    errors         the root of all errors
    failpoints     instants at which a test kills a process
"""
