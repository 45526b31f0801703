"""The store's file as a whole: making, upgrading, copying, checking it, and deleting what is long over.

The supervisor and the command line use it; agents must not import it, because `migrate` loads Alembic.

    migrate        creates and upgrades the file
    scratch        a store of the declared schema, without Alembic
    backup         copies that are proved sound
    checkup        SQLite's own checks
    retention      deletes the rows of archived projects
"""
