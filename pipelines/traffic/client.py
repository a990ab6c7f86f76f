"""A gateway's client that outlasts its restarts: what was not answered is sent again under the same names."""

import asyncio
import time
from typing import Any, Final

import httpx

from ml_project.errors import InvalidInput, Unavailable

_LONGEST_PAUSE: Final = 5.0
_AGAIN: Final = frozenset({429, 500, 502, 503, 504, 507})


class GatewayClient:
    """Sends JSON, and waits out a gateway that is away or overloaded.

    Parameters
    ----------
    url, key : str
        Address, and API key (empty for a gateway in open mode).
    connections : int
        Requests under way at the same time, at most.
    patience : float
        Seconds without any answer after which it gives up.
    """

    def __init__(self, url: str, key: str, connections: int, patience: float) -> None:
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.AsyncClient(base_url=url.rstrip("/"), headers=headers, limits=limits, timeout=30)
        self._url = url
        self._patience = patience
        self.retries = 0

    async def __aenter__(self) -> "GatewayClient":
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._client.aclose()

    async def post(self, path: str, body: Any) -> Any:
        """The JSON answer to a JSON body.

        Raises
        ------
        InvalidInput
            When the gateway refuses the key or the body: another try would change nothing.
        Unavailable
            When it gives no answer for as long as the patience lasts.
        """
        begun, pause = time.monotonic(), 0.1
        while True:
            try:
                answer = await self._client.post(path, json=body)
            except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
                raise InvalidInput(
                    f"{self._url} is no address of a gateway.", "Give --url http://host:8000."
                ) from error
            except httpx.TransportError as error:
                reason, wait = type(error).__name__, pause
            else:
                if answer.is_success:
                    return answer.json()
                reason, wait = _reason(answer), _wait(answer, pause)
                if answer.status_code not in _AGAIN:
                    raise InvalidInput(f"The gateway refused {path}: {reason}", _remedy(answer.status_code))
            if time.monotonic() - begun + wait > self._patience:
                raise Unavailable(f"The gateway at {self._url} does not answer {path}: {reason}.", "Start it.")
            self.retries += 1
            await asyncio.sleep(wait)
            pause = min(2 * pause, _LONGEST_PAUSE)


def _reason(answer: httpx.Response) -> str:
    try:
        return f"{answer.status_code} {answer.json().get('detail', '')}"[:300]
    except ValueError:
        return str(answer.status_code)


def _wait(answer: httpx.Response, pause: float) -> float:
    given = answer.headers.get("retry-after", "")
    return float(given) if given.isdecimal() else pause


def _remedy(status: int) -> str:
    if status in (401, 403):
        return "Give --key (or FRAUD_API_KEY) a key with the scopes predict and feedback."
    if status == 409:
        return "These transactions were sent before with other values: give another --seed or --start."
    return ""
