"""What can go wrong with objects beyond being unavailable."""

from ml_project.errors import InvalidInput


class MissingObject(InvalidInput):
    """There is no object of that name."""
