"""Ask a gateway, local or deployed, whether it answers as it should: ready, one prediction, one batch, one version.

Standard library only, so that it runs wherever there is Python:

    python3 deploy/smoke.py --url http://127.0.0.1:8000

Exit codes: 0 all well, 1 the gateway answered wrongly or not at all in time, 2 usage.
"""

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request
from typing import Any, Final

DECISIONS: Final = ("APPROVE", "REVIEW", "DECLINE")
_TIMEOUT: Final = 10.0
_PAUSE: Final = 1.0


class SmokeError(Exception):
    """What the gateway did wrong."""


class Gateway:
    """One gateway's address and the key for it."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Content-Type": "application/json", **({"X-API-Key": key} if key else {})}

    def ask(self, path: str, body: object = None) -> Any:
        """The JSON answer of a 200.

        Raises
        ------
        SmokeError
            On any other status, on an answer that is no JSON, and where nobody answers.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, self._headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:  # noqa: S310
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                raise SmokeError(f"{path} answered {error.code}: {error.read(300).decode(errors='replace')}") from error
        except (OSError, ValueError) as error:
            raise SmokeError(f"{path} gave no answer: {error}") from error


def wait_until_ready(gateway: Gateway, version: str, seconds: float) -> str:
    """Ask /health/ready until it names a version (that one, if one is wanted), and return it.

    Raises
    ------
    SmokeError
        When it does not within that many seconds.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            live = str(gateway.ask("/health/ready")["model_version"])
            if version in ("", live):
                return live
            trouble = f"/health/ready names version {live}, not {version}"
        except (SmokeError, KeyError, TypeError) as error:
            trouble = str(error)
        if time.monotonic() >= deadline:
            raise SmokeError(f"not ready after {seconds:g} s: {trouble}")
        time.sleep(_PAUSE)


def example_transaction(gateway: Gateway) -> Any:
    """The transaction that the gateway's own description shows: it has the fields of the contract that it serves.

    Raises
    ------
    SmokeError
        When the description shows none.
    """
    described = gateway.ask("/openapi.json")
    try:
        return described["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]
    except (KeyError, TypeError) as error:
        raise SmokeError("/openapi.json shows no transaction for /predict") from error


def check_predictions(gateway: Gateway, live: str) -> dict[str, Any]:
    """One prediction and a batch of two, by the live version, alike for equal transactions.

    Raises
    ------
    SmokeError
        When they are anything else.
    """
    transaction = example_transaction(gateway)
    answer = gateway.ask("/predict", transaction)
    batch = gateway.ask("/predict-batch", [transaction, transaction])
    if not isinstance(answer, dict) or not isinstance(batch, list) or len(batch) != 2:
        raise SmokeError(f"answers of another shape than asked for: {answer} {batch}")
    for one in (answer, *batch):
        if str(one.get("model_version")) != live:
            raise SmokeError(f"version {one.get('model_version')} answered, /health/ready names {live}")
        if one.get("decision") not in DECISIONS or not 0 <= float(one.get("hybrid_score", -1)) <= 1:
            raise SmokeError(f"no decision: {one}")
        if abs(one["hybrid_score"] - answer["hybrid_score"]) > 1e-6:
            raise SmokeError(f"equal transactions score {answer['hybrid_score']} and {one['hybrid_score']}")
    return answer


def main(argv: list[str] | None = None) -> int:
    """Run the checks and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True, help="the gateway's address")
    key = os.environ.get("SMOKE_KEY", "")
    parser.add_argument("--key", default=key, help="an API key with the scope predict (SMOKE_KEY)")
    parser.add_argument("--version", default="", help="the model version that must be live; else any")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to wait until it is ready")
    arguments = parser.parse_args(argv)
    if not arguments.url.startswith(("http://", "https://")):
        parser.error("--url begins with http:// or https://")
    gateway = Gateway(arguments.url, arguments.key)
    try:
        live = wait_until_ready(gateway, arguments.version, arguments.seconds)
        answer = check_predictions(gateway, live)
    except SmokeError as error:
        sys.stderr.write(f"smoke test failed: {error}\n")
        return 1
    sys.stdout.write(f"version {live} answers: {answer['decision']}, hybrid score {answer['hybrid_score']}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
