"""Alembic's environment (`env.py`) and the migrations, one per schema version (`versions/`).

Only `store/upkeep/migrate.py` runs them.
"""
