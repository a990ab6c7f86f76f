"""What can go wrong when decisions are kept, each with its HTTP status."""

from ml_project.errors import FraudError, Unavailable


class Conflict(FraudError):
    """A transaction_id that is already taken by another payload."""

    status = 409


class SpoolFull(Unavailable):
    """Neither the database nor the local disk can take a decision; it must not be acknowledged."""


class Busy(Unavailable):
    """More decisions wait to be kept than the queue holds, or the writer is closing."""


class DamagedSegment(FraudError):
    """A stored segment whose bytes are not what was written."""


class InvalidKey(FraudError):
    """No key, an unknown one, or a revoked one."""

    status = 401


class MissingScope(FraudError):
    """A good key that may not do this."""

    status = 403
