"""The store's file as a whole: making, upgrading, copying, checking it, and deleting what is long over.

The supervisor and the command line use it; agents must not import it, because `migrate` loads Alembic.
"""
