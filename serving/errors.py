"""What a request can do wrong, each with its HTTP status."""

from typing import ClassVar

from typing_extensions import TypedDict

from ml_project.errors import FraudError


class FieldError(TypedDict, total=False):
    """One fault of a body: the row's place in a batch (from 0), the field, and what is wrong with it."""

    row: int
    field: str
    message: str


class MalformedJson(FraudError):
    """A body that is not JSON at all."""

    status = 400


class UnsupportedMediaType(FraudError):
    """A body of a type that the route does not read."""

    status = 415


class BodyTooLarge(FraudError):
    """A body, or a batch, above the configured limit."""

    status = 413


class InvalidFields(FraudError):
    """JSON that is not a transaction, or not an array of them."""

    status = 422

    def __init__(self, errors: list[FieldError]) -> None:
        self.errors = errors
        super().__init__("The body is not valid; nothing was scored.", "See errors.")


class NoModel(FraudError):
    """No version can answer yet."""

    status = 503
    retry_after_seconds: ClassVar[int] = 5


class ScoringFailed(FraudError):
    """The model gave something that is no number; an APPROVE must never come out of that."""

    status = 500
