"""The store's file as a whole: creating, upgrading, copying and checking it, and deleting old rows.

The supervisor and the command line use it; agents must not import it, because `migrate` loads Alembic.

    migrate        creates and upgrades the file
    scratch        a store of the declared schema, without Alembic
    backup         copies that are proved sound
    checkup        SQLite's own checks
    retention      deletes the rows of archived projects
"""
