"""How many requests a key may send: a moving window, per process or shared through Redis."""

import math
import time

from limits import parse
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import ConfigurationError
from limits.storage import storage_from_string

from ml_project.errors import InvalidInput, Unavailable


class RateLimit:
    """A limit for each name on its own.

    Parameters
    ----------
    limit : str
        As in ``600/minute``.
    store_url : str
        ``redis://...`` to share the counts between processes; empty: each process counts for itself.

    Raises
    ------
    InvalidInput
        When the store is of an unknown kind, or its driver is missing.
    """

    def __init__(self, limit: str, store_url: str = "") -> None:
        self._limit = parse(limit)
        try:
            store = storage_from_string(f"async+{store_url or 'memory://'}")
        except (ConfigurationError, ValueError) as error:
            cause = "FRAUD_RATE_LIMIT_STORE cannot be used"
            raise InvalidInput(f"{cause}: {type(error).__name__}.", "Write redis://..., and install redis.") from error
        self._limiter = MovingWindowRateLimiter(store)

    async def wait(self, name: str) -> int:
        """Count a request; 0 if it may pass, else the seconds after which the next one may.

        Raises
        ------
        Unavailable
            When Redis does not answer: nobody then knows who has sent how much.
        """
        try:
            if await self._limiter.hit(self._limit, name):
                return 0
            window = await self._limiter.get_window_stats(self._limit, name)
        except OSError as error:
            raise Unavailable(f"The store of the rate limits does not answer: {type(error).__name__}.") from error
        return max(1, math.ceil(window.reset_time - time.time()))
