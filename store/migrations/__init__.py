"""Alembic's environment and the migrations, one per schema version. Only `store/upkeep/migrate.py` runs them."""
