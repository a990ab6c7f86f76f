"""Who may do what and how often: API keys with scopes, and rate limits by a moving window.

Without keys the gateway is open to its own machine only. Requests are counted per process, or shared through Redis.
"""

import asyncio
import hmac
import math
import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError

from ml_project.errors import InvalidInput, Unavailable
from serving.errors import ForeignSite, NoKey, TooManyRequests
from serving.settings import GatewaySettings
from serving.telemetry.request import RequestRecord
from stores.error_text import masked

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool

    from stores.decisions import Keys


_PUBLIC: Final = frozenset({"/", "/ui", "/docs", "/health", "/openapi.json", "/hooks/registry"})
"""The last one asks for a signature instead of a key."""

_PUBLIC_FOLDERS: Final = ("/ui/", "/docs/", "/health/")
_SCOPES: Final = {
    "/predict": "predict",
    "/predict-batch": "predict",
    "/events": "predict",
    "/feedback": "feedback",
    "/claims": "feedback",
    "/features": "",
}


def scope_of(path: str) -> str | None:
    """The scope that a path asks for: None for the public ones, empty for any key, ``read`` for what is not listed."""
    if path in _PUBLIC or path.startswith(_PUBLIC_FOLDERS):
        return None
    return _SCOPES.get(path, "read")


def key_in(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The key of ``X-API-Key`` or ``Authorization: Bearer``."""
    for name, value in headers:
        if name == b"x-api-key":
            return value.decode("latin-1").strip() or None
        if name == b"authorization":
            scheme, _, token = value.decode("latin-1").partition(" ")
            if scheme.lower() == "bearer":
                return token.strip() or None
    return None


class Access:
    """Checks keys, and knows whether the gateway is open.

    With ``require_keys=auto`` it is open on a loopback address as long as no key was ever made; a key made meanwhile
    closes it within seconds, for good.

    Parameters
    ----------
    settings : GatewaySettings
    keys : Keys
    prepared : callable
        Whether the database has its tables and the bootstrap key, and the keys were read: from then on nothing here
        waits for it.
    limit : RateLimit, optional
    """

    def __init__(
        self, settings: GatewaySettings, keys: "Keys", prepared: Callable[[], bool], limit: "RateLimit | None" = None
    ) -> None:
        self._keys = keys
        self._limit = limit
        self._prepared = prepared
        self._may_be_open = settings.require_keys == "auto" and settings.on_loopback and settings.bootstrap_key is None
        self._always_open = settings.require_keys == "false"
        self._any_key = False
        secret = settings.bootstrap_key
        self._bootstrap = None if secret is None else secret.get_secret_value().encode()
        self._hosts = {"localhost", settings.host.lower(), *(host.lower() for host in settings.allowed_hosts)}
        self._origins = {origin.lower() for origin in settings.cors_origins}

    async def admit(
        self, path: str, headers: Iterable[tuple[bytes, bytes]], address: str, record: RequestRecord
    ) -> None:
        """Return if a request may pass; its record then names its key, if it has one.

        Raises
        ------
        FraudError
            See `name`; also 429 above the rate limit, and 403 in open mode for what a page of another site may cause.
        """
        scope = scope_of(path)
        if scope is None:
            return
        name = self.name(key_in(headers), scope)
        if name is not None:
            record.key_name = record.fields["key"] = name
        else:
            self._refuse_foreign_sites(headers)
        if self._limit is not None:
            seconds = await self._limit.wait(f"key:{name}" if name is not None else f"address:{address}")
            if seconds:
                raise TooManyRequests(seconds)

    def name(self, plaintext: str | None, scope: str) -> str | None:
        """The name of a key that is good for a scope; None in open mode.

        Raises
        ------
        FraudError
            401 without a key in force, 403 without the scope, 503 while the keys could never be read: only the
            bearer of the bootstrap secret is let in then.
        """
        try:
            if not self._always_open and not self._prepared():
                raise Unavailable("The API keys cannot be read yet.", "Try again when the database is back.")
            if self._is_open():
                return None
            if plaintext is None:
                raise NoKey("This needs an API key.", "Send it as X-API-Key or as Authorization: Bearer.")
            return self._keys.verify(plaintext, scope).name
        except Unavailable:
            given = (plaintext or "").encode()
            if self._bootstrap is None or not hmac.compare_digest(given, self._bootstrap):
                raise
            return "bootstrap"

    def _refuse_foreign_sites(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Without a key, all that tells our own page from others is what browsers say of them.

        Under a name that leads to this machine (DNS rebinding), a page could read what we answer; from its own place,
        it could send forms.
        """
        said = {name: value.decode("latin-1").lower() for name, value in headers if name in (b"host", b"origin")}
        host, origin = said.get(b"host", ""), said.get(b"origin")
        name = urlsplit(f"//{host}").hostname or "" if _HOST.fullmatch(host) else host
        if host and name not in self._hosts and not _is_loopback(name):
            raise ForeignSite(f"The host {host[:64]!r} is not this machine.", "Use localhost, or FRAUD_ALLOWED_HOSTS.")
        own = origin is None or origin.partition("://")[2] == host
        if not own and not self._origins & {origin, "*"}:
            raise ForeignSite(
                f"Pages of {origin!r:.64} may not call.", "Allow it in FRAUD_CORS_ORIGINS, or make a key."
            )

    def _is_open(self) -> bool:
        if self._always_open or not self._may_be_open or self._any_key:
            return self._always_open
        self._any_key = self._keys.any()
        return not self._any_key


_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]@/?#\s:]+)(:\d{1,5})?")


def _is_loopback(name: str) -> bool:
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


class _MovingWindow:
    """Requests of the last seconds, by name, on a clock that nobody sets.

    `limits` counts in memory by the time of day: after that goes back an hour, everybody is refused for an hour.
    """

    def __init__(self, limit: RateLimitItem) -> None:
        self._most, self._seconds = limit.amount, limit.get_expiry()
        self._requests: dict[str, deque[float]] = {}
        self._next_look = 0.0

    def wait(self, name: str) -> float:
        """Count a request; 0 if it may pass, else the seconds until the next one may."""
        now = time.monotonic()
        if now > self._next_look:
            self._next_look = now + self._seconds
            self._requests = {name: seen for name, seen in self._requests.items() if seen[-1] > now - self._seconds}
        seen = self._requests.setdefault(name, deque(maxlen=self._most))
        if len(seen) == self._most and seen[0] > now - self._seconds:
            return seen[0] + self._seconds - now
        seen.append(now)
        return 0.0


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
        self._here = _MovingWindow(self._limit)
        self._pool = _redis(store_url) if store_url else None
        self._shared = MovingWindowRateLimiter(_storage(store_url, self._pool)) if self._pool else None

    async def wait(self, name: str) -> int:
        """Count a request; 0 if it may pass, else the seconds after which the next one may.

        Raises
        ------
        Unavailable
            When Redis does not answer, which holds the counts.
        """
        if self._shared is None:
            return math.ceil(self._here.wait(name))
        try:
            async with asyncio.timeout(_SECONDS):
                return await self._counted(self._shared, name)
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

    async def _counted(self, shared: MovingWindowRateLimiter, name: str) -> int:
        if await shared.hit(self._limit, name):
            return 0
        window = await shared.get_window_stats(self._limit, name)
        # The clocks of gateways differ, and may be set; Redis forgets a window by its own.
        return min(max(1, math.ceil(window.reset_time - time.time())), self._limit.get_expiry())


def rate_limit(settings: GatewaySettings) -> RateLimit | None:
    """The limit that the settings ask for; a store URL that cannot be used is refused without a limit, too."""
    if settings.rate_limit:
        return RateLimit(settings.rate_limit, settings.rate_limit_url)
    if settings.rate_limit_url:
        _redis(settings.rate_limit_url)
    return None


def _storage(url: str, pool: "ConnectionPool") -> RedisStorage:
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
        shown = masked(url.partition("?")[0]) if "://" in url else "*** (not a URL)"
        raise InvalidInput(
            f"FRAUD_RATE_LIMIT_STORE cannot be {shown}: {error}.", "Write redis://:password@host:6379/0."
        ) from error
