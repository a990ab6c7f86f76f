"""MLflow's client: how it behaves here, and one clear error for a server that is unreachable or unwilling.

MLflow reads its environment while it is imported, and its import takes seconds: this module imports it inside functions
only, so that `quiet_mlflow` can be called before.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Final

from google.protobuf.json_format import ParseError

from ml_project.errors import Forbidden, FraudError, Unavailable
from stores.answers import only_words
from stores.error_text import connection_fault, masked

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


# MLflow's defaults retry an absent server for minutes. A gateway gives up after twice six seconds and looks again
# later; a pipeline has tried the server once before it begins, and must survive a restart and a slow upload after that.
_QUICK = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "6",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",  # it may name any time
}
_PATIENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "60", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "4"}
_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "DO_NOT_TRACK": "1",
}


def quiet_mlflow(*, patient: bool = False) -> None:
    """Make MLflow's client quiet, private and, unless ``patient``, quick to give up.

    Called where a process is put together, before MLflow is imported. Values that are set already are kept.
    """
    for name, value in {**_DEFAULTS, **(_PATIENT if patient else _QUICK)}.items():
        os.environ.setdefault(name, value)


NOT_FOUND: Final = "RESOURCE_DOES_NOT_EXIST"

_HTTP: Final = ("http://", "https://")
_LOOK_SECONDS: Final = 8
_STATUS: Final = re.compile(r"error code (\d{3})|\b(\d{3}) Client Error")
_WITHOUT_SERVER: Final = "an mlflow-artifacts URI was supplied"
_OLD_SCHEMA: Final = "out-of-date database schema"
_CODES: Final = {"UNAUTHENTICATED": 401, "CUSTOMER_UNAUTHORIZED": 401, "PERMISSION_DENIED": 403}


def server_errors() -> tuple[type[Exception], ...]:
    """What MLflow's client raises for a server that is unreachable or unwilling."""
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException

    return MlflowException, RequestException


_NO_ANSWER_OF_MLFLOW: Final = (ValueError, TypeError, LookupError, AttributeError, RecursionError, ParseError)
"""What the client raises for an answer of something else than MLflow, such as a list, or an alias without a number."""


@contextmanager
def translated(tracking_uri: str) -> Iterator[None]:
    """Turn what the client raises for an absent or unwilling server into one clear error.

    What is asked on this thread meanwhile may have answers of a few megabytes; see `stores.answers`.
    """
    try:
        with only_words():
            yield
    except FraudError:
        raise
    except Exception as error:
        if isinstance(error, (*server_errors(), OSError)):
            raise unavailable(tracking_uri, error) from error
        if isinstance(error, _NO_ANSWER_OF_MLFLOW) and tracking_uri.startswith(_HTTP):
            text = f"its answer is not MLflow's ({type(error).__name__}: {error})"
            raise _unavailable(tracking_uri, None, text) from error
        raise


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

    _ask_for_plain_answers()
    with translated(tracking_uri):
        return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


@cache
def _ask_for_plain_answers() -> None:
    """Let MLflow's client ask for answers as they are: `stores.answers` can bound no compressed one."""
    from mlflow.tracking.request_header.abstract_request_header_provider import RequestHeaderProvider
    from mlflow.tracking.request_header.registry import _request_header_provider_registry

    class Plain(RequestHeaderProvider):
        def in_context(self) -> bool:
            return True

        def request_headers(self) -> dict[str, str]:
            return {"Accept-Encoding": "identity"}

    _request_header_provider_registry.register(Plain)  # type: ignore[no-untyped-call]


def require_server(tracking_uri: str) -> None:
    """Ask an HTTP server one question, once: the client itself would try for minutes.

    Raises
    ------
    Unavailable
        When it does not answer within seconds, or refuses access.
    """
    if not tracking_uri.startswith(_HTTP):
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
        return Unavailable(f"{server} rejects {who}.", "Check MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.")
    if status == 403 and "Invalid Host header" in text:
        return Unavailable(f"{server} does not accept that host name.", "Start it with --allowed-hosts naming it.")
    if status == 403:
        return Forbidden(
            f"{server} does not allow {who} to do this.",
            "See `python -m pipelines access show`, or set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.",
        )
    if _WITHOUT_SERVER in text:
        return Unavailable(
            f"The files of these runs are kept by an MLflow server, and none is set or runs on {masked(tracking_uri)}.",
            "Start it (`make run`), or name one that runs: export FRAUD_TRACKING_URI=http://127.0.0.1:5000",
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
