"""The least that a server can do: an ASGI function that reads a body and answers 220 bytes.

What it reaches says how quick the machine is; the gateway's figures are compared with it.
"""

from typing import Final

from starlette.types import Receive, Scope, Send

_BODY: Final = b"x" * 220
_HEADERS: Final = [(b"content-type", b"application/json"), (b"content-length", b"220")]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one request, or the application's lifespan."""
    if scope["type"] == "lifespan":
        while (message := await receive())["type"] != "lifespan.shutdown":
            await send({"type": f"{message['type']}.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _BODY})
