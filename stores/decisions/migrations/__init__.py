"""Alembic migrations of the decision database; shipped with the package."""
