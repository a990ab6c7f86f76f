"""Security headers on every answer, errors included. A route that needs another value sets its own.

Plain ASGI, for the reason that `serving.request_log` gives.
"""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'self'; frame-ancestors 'none'; object-src 'none'; base-uri 'none'; form-action 'self'"
)
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Answers hold decisions about people; only files that never change say otherwise.
    "Cache-Control": "no-store",
}


class SecurityHeaders:
    """Wraps the whole application.

    Parameters
    ----------
    hsts_seconds : int
        How long browsers shall insist on HTTPS; 0 sends no such header, because behind plain HTTP on a private
        network it would lock people out.
    """

    def __init__(self, app: ASGIApp, hsts_seconds: int = 0) -> None:
        self._app = app
        headers = dict(_HEADERS)
        if hsts_seconds:
            headers["Strict-Transport-Security"] = f"max-age={hsts_seconds}; includeSubDomains"
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; other kinds of connection pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _value in message["headers"]}
                message["headers"] += [header for header in self._headers if header[0] not in own]
            await send(message)

        await self._app(scope, receive, send_with_headers)
