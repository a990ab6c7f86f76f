"""One clear error for an MLflow server that is away or unwilling, and a quick look whether it is."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from mlflow.exceptions import MlflowException
from requests.exceptions import RequestException

from ml_project.errors import FraudError, Unavailable
from stores.connections import connection_fault
from stores.masking import masked

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

NOT_FOUND: Final = "RESOURCE_DOES_NOT_EXIST"
SERVER_ERRORS: Final = (MlflowException, RequestException)

_LOOK_SECONDS: Final = 8
_STATUS: Final = re.compile(r"error code (\d{3})|\b(\d{3}) Client Error")
_OLD_SCHEMA: Final = "out-of-date database schema"
_CODES: Final = {"UNAUTHENTICATED": 401, "CUSTOMER_UNAUTHORIZED": 401, "PERMISSION_DENIED": 403}


@contextmanager
def translated(tracking_uri: str) -> Iterator[None]:
    """Turn whatever the client raises for an absent or unwilling server into one clear error."""
    try:
        yield
    except FraudError:
        raise
    except (*SERVER_ERRORS, OSError) as error:
        raise unavailable(tracking_uri, error) from error


def unavailable(tracking_uri: str, error: Exception) -> Unavailable:
    """The clear error for what the client raised."""
    text = str(error) or type(error).__name__
    found = _STATUS.search(text)
    code = _CODES.get(getattr(error, "error_code", ""))
    return _unavailable(tracking_uri, code or (int(found[1] or found[2]) if found else None), text)


def open_client(tracking_uri: str) -> "MlflowClient":
    """A client of a server, or of a database itself, which is looked at here.

    Raises
    ------
    Unavailable
        When the database cannot be used, such as one that a former MLflow has made.
    """
    from mlflow.tracking import MlflowClient

    with translated(tracking_uri):
        return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def require_server(tracking_uri: str) -> None:
    """Ask an HTTP server one question, once: the client itself would try for minutes.

    Raises
    ------
    Unavailable
        When it does not answer within seconds, or refuses us.
    """
    if not tracking_uri.startswith(("http://", "https://")):
        return
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    with translated(tracking_uri):
        answer = http_request(  # type: ignore[no-untyped-call]
            get_default_host_creds(tracking_uri),  # type: ignore[no-untyped-call]
            "/api/2.0/mlflow/experiments/search",
            "GET",
            max_retries=0,
            timeout=_LOOK_SECONDS,
            raise_on_status=False,
            params={"max_results": 1},
        )
    if answer.status_code != 200:
        raise _unavailable(tracking_uri, answer.status_code, f"it answers {answer.status_code}: {answer.text}")


def _unavailable(tracking_uri: str, status: int | None, text: str) -> Unavailable:
    server = f"The MLflow server at {masked(tracking_uri)}"
    user = os.environ.get("MLFLOW_TRACKING_USERNAME")
    who = f"the user {user!r}" if user else "a request without credentials"
    if status == 401:
        return Unavailable(
            f"{server} does not let {who} in.", "Check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD."
        )
    if status == 403 and "Invalid Host header" in text:
        return Unavailable(f"{server} does not go by that name.", "Start it with --allowed-hosts naming it.")
    if status == 403:
        return Unavailable(
            f"{server} does not allow {who} to do this.",
            "Grant the permission in MLflow, or set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.",
        )
    if _OLD_SCHEMA in text:
        return Unavailable(
            f"The MLflow database {masked(tracking_uri)} has the schema of another MLflow version.",
            "Back it up, then run `mlflow db upgrade` with its address; see docs/operations.md.",
        )
    reason = connection_fault(text) if status is None else None
    return Unavailable(
        f"{server} does not answer as it should: {reason or masked(text.splitlines()[0])[:300]}.",
        "Check MLFLOW_TRACKING_URI and that the server runs.",
    )
