"""The base of every error that is raised on purpose: a message with cause and remedy, an exit code, an HTTP status."""

from typing import ClassVar


class FraudError(Exception):
    """An expected failure with one clear message for people.

    Parameters
    ----------
    cause : str
        What is wrong, naming the file, column, row or setting concerned.
    remedy : str
        What to do about it.
    """

    exit_code: ClassVar[int] = 2
    status: ClassVar[int] = 500

    def __init__(self, cause: str, remedy: str = "") -> None:
        self.cause = cause
        self.remedy = remedy
        super().__init__(f"{cause} {remedy}".strip())


class Refused(FraudError):
    """A check said no: validation, or the gate."""

    exit_code = 1
    status = 409


class InvalidInput(FraudError):
    """Data, arguments or settings that cannot be used as they are."""

    exit_code = 2
    status = 422


class LostRace(FraudError):
    """Another process holds the lock or has moved first."""

    exit_code = 3
    status = 409


class InvalidBundle(FraudError):
    """A bundle whose files, digests, schema or golden rows are not what they should be."""

    exit_code = 2
    status = 503


class Unavailable(FraudError):
    """A server that is needed (tracking, storage) cannot be reached or refuses access."""

    exit_code = 2
    status = 503


class Forbidden(Unavailable):
    """A server knows this user and does not let them do this."""
