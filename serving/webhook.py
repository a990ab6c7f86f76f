"""MLflow's webhook: who signed it, and whether it is about our model. Nothing else in it is believed.

The form is that of https://www.standardwebhooks.com as MLflow 3 writes it (``mlflow.webhooks.delivery``): HMAC-SHA256
over ``<delivery id>.<timestamp>.<body>``.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import from_json

from serving.errors import BadSignature, MalformedJson

SIGNATURE, DELIVERY, TIMESTAMP = "x-mlflow-signature", "x-mlflow-delivery-id", "x-mlflow-timestamp"
OLDEST_SECONDS: Final = 300
"""A delivery that is older, or as much ahead of our clock, is refused."""


def signature(secret: str, delivery: str, timestamp: str, body: bytes) -> str:
    """What MLflow sends as ``X-MLflow-Signature``."""
    signed = f"{delivery}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret.encode(), signed, hashlib.sha256)).decode()


def check_signature(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Return if MLflow sent this body in the last minutes.

    Parameters
    ----------
    secret : str
    headers : Mapping
        By lower-case names.
    body : bytes
    now : float
        Seconds since 1970.

    Raises
    ------
    BadSignature
        When it did not, or nobody can tell.
    """
    given, delivery, timestamp = (headers.get(name, "") for name in (SIGNATURE, DELIVERY, TIMESTAMP))
    expected = signature(secret, delivery, timestamp, body)
    if not hmac.compare_digest(given.encode(), expected.encode()):
        raise BadSignature("The signature is missing or wrong.", "Give MLflow's webhook the secret of the gateway.")
    if not timestamp.isdecimal() or abs(now - int(timestamp)) > OLDEST_SECONDS:
        raise BadSignature(
            f"The delivery is not of the last {OLDEST_SECONDS} s.",
            "Compare the clocks of MLflow and the gateway.",
        )


def moves_alias(body: bytes, model_name: str, alias: str) -> bool:
    """Whether it says that an alias of a model was set, whatever the alias's case.

    Raises
    ------
    MalformedJson
        When it is no JSON object.
    """
    try:
        event: Any = from_json(body)
    except ValueError as error:
        raise MalformedJson(f"The body is not JSON: {error}.") from None
    if not isinstance(event, dict):
        raise MalformedJson("The body is not a JSON object.")
    data = event.get("data")
    return (
        (event.get("entity"), event.get("action")) == ("model_version_alias", "created")
        and isinstance(data, dict)
        and data.get("name") == model_name
        and str(data.get("alias")).lower() == alias.lower()
    )
