"""What a request can do wrong, each with its HTTP status."""

from typing import ClassVar

from typing_extensions import TypedDict

from ml_project.errors import FraudError


class FieldError(TypedDict, total=False):
    """One fault of a body: the row's place in a batch, the field, and what is wrong with it.

    Rows count from 0; those of a CSV are its line numbers, from 1, as editors show them.
    """

    row: int
    field: str
    message: str


class MalformedJson(FraudError):
    """A body that is not JSON at all."""

    status = 400


class MalformedFile(FraudError):
    """An upload that is not of the type it says, or is cut off."""

    status = 400


class NotAcceptable(FraudError):
    """An answer in a type that cannot be given."""

    status = 406


class UnsupportedMediaType(FraudError):
    """A body of a type that the route does not read."""

    status = 415


class BodyTooLarge(FraudError):
    """A body, or a batch, above the configured limit."""

    status = 413


class InvalidFields(FraudError):
    """A body that is not a transaction or a batch of them, or a query that says what nobody understands."""

    status = 422

    def __init__(self, errors: list[FieldError], what: str = "body") -> None:
        self.errors = errors
        super().__init__(f"The {what} is not valid; nothing was scored.", "See errors.")


class NoModel(FraudError):
    """No version can answer yet."""

    status = 503
    retry_after_seconds: ClassVar[int] = 5


class StorageFull(FraudError):
    """An upload for which the disk has no room."""

    status = 507


class ScoringFailed(FraudError):
    """The model gave something that is no number; an APPROVE must never come out of that."""

    status = 500
