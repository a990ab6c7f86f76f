"""Stands before the routes: no key, wrong scope or too many requests go no further, and their bodies are not read.

A plain ASGI middleware, as the request log is, because a dependency per route costs more and can be forgotten.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from ml_project.errors import FraudError
from serving.access import Access, key_in, scope_of
from serving.dependencies import Gateway
from serving.errors import TooManyRequests
from serving.problems import problem_of
from serving.rate_limits import RateLimit
from serving.request_record import record_of


class Guard:
    """Lets requests through that may pass.

    Parameters
    ----------
    app : ASGIApp
    gateway : Gateway
        Its keys are those of its decision store, which is opened later.
    limit : RateLimit or None
    """

    def __init__(self, app: ASGIApp, gateway: Gateway, limit: RateLimit | None) -> None:
        self._app = app
        self._gateway = gateway
        self._limit = limit
        self._access: Access | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or answer it."""
        wanted = scope_of(scope["path"]) if scope["type"] == "http" else None
        if wanted is not None:
            try:
                await self._check(scope, wanted)
            except FraudError as error:
                await problem_of(error, record_of(scope))(scope, receive, send)
                return
        await self._app(scope, receive, send)

    async def _check(self, scope: Scope, wanted: str) -> None:
        if self._access is None:
            decisions = self._gateway.decisions
            self._access = Access(self._gateway.settings, decisions.keys, decisions.prepared)
        record = record_of(scope)
        name = self._access.name(key_in(scope["headers"]), wanted)
        if name is not None:
            record.key_name = record.fields["key"] = name
        if self._limit is not None:
            client = (scope.get("client") or ("unknown",))[0]
            seconds = await self._limit.wait(f"key:{name}" if name is not None else f"address:{client}")
            if seconds:
                raise TooManyRequests(seconds)
