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


class NoKey(FraudError):
    """A request without an API key where one is needed."""

    status = 401


class BadSignature(FraudError):
    """A webhook that its sender did not sign, or long ago."""

    status = 401


class TooManyRequests(FraudError):
    """A key, or in open mode an address, above its limit."""

    status = 429

    def __init__(self, seconds: int) -> None:
        self.retry_after_seconds = seconds
        super().__init__("Too many requests.", f"Send the next one in {seconds} s.")


class UnknownPrediction(FraudError):
    """A prediction_id that nothing is kept under."""

    status = 404


class NoCard(FraudError):
    """A live version that nobody wrote a model card of."""

    status = 404


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


class ConflictingRows(FraudError):
    """Rows of a JSON batch whose transaction_ids were used with other values."""

    status = 409

    def __init__(self, errors: list[FieldError]) -> None:
        self.errors = errors
        super().__init__(
            "Rows of the batch use transaction_ids that other values were sent with before; the other rows are kept.",
            "Send the same values for the same transaction, or use on_error=skip. See errors.",
        )


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
