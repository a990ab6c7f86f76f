"""How many requests a key may send: a moving window, per process or shared through Redis."""

import asyncio
import math
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from limits import parse
from limits.aio.storage import MemoryStorage, RedisStorage, Storage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError

from ml_project.errors import InvalidInput, Unavailable
from stores.error_text import masked

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool

_SCHEMES: Final = ("redis", "rediss")
_SECONDS: Final = 1.0
"""Longest time that a request waits for Redis, a second try on a new connection included."""


class RateLimit:
    """A limit for each name on its own.

    Parameters
    ----------
    limit : str
        As in ``600/minute``.
    store_url : str
        ``redis://...`` to share the counts between processes; empty: each process counts for itself. Redis is not asked
        before the first request.

    Raises
    ------
    InvalidInput
        When the store's URL cannot be used.
    """

    def __init__(self, limit: str, store_url: str = "") -> None:
        self._limit = parse(limit)
        self._pool = _redis(store_url) if store_url else None
        self._limiter = MovingWindowRateLimiter(_storage(store_url, self._pool))

    async def wait(self, name: str) -> int:
        """Count a request; 0 if it may pass, else the seconds after which the next one may.

        Raises
        ------
        Unavailable
            When Redis does not answer: nobody then knows who has sent how much.
        """
        if self._pool is None:
            return await self._counted(name)
        try:
            async with asyncio.timeout(_SECONDS):
                return await self._counted(name)
        except (StorageError, OSError) as error:
            reason = type(error.__cause__ or error).__name__
            raise Unavailable(
                f"The store of the rate limits does not answer as it should: {reason}.",
                "Try again soon. Operators: check FRAUD_RATE_LIMIT_STORE and that Redis runs.",
            ) from error

    async def close(self) -> None:
        """End the connections."""
        if self._pool is not None:
            await self._pool.aclose()

    async def _counted(self, name: str) -> int:
        if await self._limiter.hit(self._limit, name):
            return 0
        window = await self._limiter.get_window_stats(self._limit, name)
        return max(1, math.ceil(window.reset_time - time.time()))


def _storage(url: str, pool: "ConnectionPool | None") -> Storage:
    if pool is None:
        return MemoryStorage()
    options: dict[str, Any] = {"connection_pool": pool}  # limits wants numbers and text, but passes it on
    return RedisStorage(url, wrap_exceptions=True, implementation="redispy", **options)


def _redis(url: str) -> "ConnectionPool":
    from redis.asyncio import BlockingConnectionPool
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    try:
        if urlsplit(url).scheme not in _SCHEMES:
            raise ValueError("it does not begin with redis:// or rediss://")
        return BlockingConnectionPool.from_url(
            url,
            timeout=_SECONDS,
            socket_timeout=_SECONDS / 2,
            socket_connect_timeout=_SECONDS / 2,
            # Once: the connection may be one that a restart of Redis has cut.
            retry=Retry(NoBackoff(), 1),
        )
    except (ValueError, TypeError) as error:
        shown = masked(url.partition("?")[0]) if "://" in url else "*** (no URL)"
        raise InvalidInput(
            f"FRAUD_RATE_LIMIT_STORE cannot be {shown}: {error}.", "Write redis://:password@host:6379/0."
        ) from error
