"""Alembic's environment (`env`) and the schema's versions (`versions/`). Imported only by `store.upkeep.migrate`."""
