"""The gateway's first answers by the promoted version, shown with a command to copy."""

import json
import shlex
import time
from typing import Any

import httpx

from ml_project.errors import Unavailable
from pipelines.console import console, step
from pipelines.promotion.promote import Promotion
from pipelines.sample import sample_transactions

_READY_SECONDS = 60.0


def show_sample(gateway_url: str, promotion: Promotion) -> None:
    """Wait until the gateway serves the champion, ask it for one prediction and one batch, and show the first."""
    champion = promotion.production
    if champion is None:
        raise Unavailable(
            "No version was promoted, so the gateway has nothing to serve.", "See the gate's table above."
        )
    with step(f"gateway turns to version {champion.version}"):
        _wait_for_version(gateway_url, str(champion.version))
    transactions = sample_transactions()
    answer = _post(f"{gateway_url}/predict", transactions[0])
    answers = _post(f"{gateway_url}/predict-batch", transactions)
    if len(answers) != len(transactions) or {a["model_version"] for a in [answer, *answers]} != {str(champion.version)}:
        raise Unavailable("The gateway did not answer with the promoted version.", "See its log.")
    body = json.dumps(transactions[0])
    console.print(
        f"\n[bold]curl -s {gateway_url}/predict -H 'content-type: application/json' -d {shlex.quote(body)}[/bold]"
    )
    console.print_json(data=answer)
    console.print(f"  /predict-batch answered {len(answers)} transactions")


def _post(url: str, body: object) -> Any:
    response = httpx.post(url, json=body, timeout=10)
    if response.status_code != httpx.codes.OK:
        raise Unavailable(f"{url} answered {response.status_code}: {response.text[:300]}", "See the gateway's log.")
    return response.json()


def _wait_for_version(gateway_url: str, version: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    answer = ""
    while time.monotonic() < deadline:
        response = httpx.get(f"{gateway_url}/health/ready")
        answer = response.text
        if response.status_code == httpx.codes.OK and str(response.json().get("model_version")) == version:
            return
        time.sleep(0.3)
    raise Unavailable(f"The gateway does not serve version {version}: {answer[:300]}", "See its log.")
