"""What can be found wrong with the settings before anybody is answered, so that it is one clear message."""

import logging
from typing import TYPE_CHECKING, Any, Final

from ml_project.errors import Unavailable
from serving.access_settings import SHORTEST_SECRET
from serving.rate_limits import RateLimit
from serving.settings import GatewaySettings
from stores.error_text import masked

if TYPE_CHECKING:
    from pydantic import ValidationError

    from stores.decisions import DecisionStore

_ANY_LIMIT: Final = "1/second"
_SECRET: Final = {name for name, field in GatewaySettings.model_fields.items() if "SecretStr" in str(field.annotation)}

_log = logging.getLogger(__name__)


def prepared_store(settings: GatewaySettings) -> "DecisionStore":
    """The decision store, its database migrated; one that does not answer yet is waited for later.

    Raises
    ------
    FraudError
        When a setting cannot be used, by name.
    """
    from stores.decisions import DecisionStore, open_engine
    from stores.decisions import database as migrate

    if settings.rate_limit_url:
        RateLimit(settings.rate_limit or _ANY_LIMIT, settings.rate_limit_url)
    engine = open_engine(settings.decisions_url)
    try:
        migrate(engine)
    except Unavailable as error:
        _log.warning("the decision database is away: %s", error)
    return DecisionStore(engine)


def faults(error: "ValidationError") -> str:
    """What pydantic found, one line for each setting, without the values of secret ones."""
    return "".join(_fault(dict(fault)) for fault in error.errors(include_url=False))


def _fault(fault: dict[str, Any]) -> str:
    message = str(fault["msg"]).removeprefix("Value error, ").rstrip(".")
    if not fault["loc"]:
        return f"{message}. See python -m serving --help.\n"
    name = str(fault["loc"][0])
    setting = name if name.isupper() else f"FRAUD_{name.upper()}"
    value = "***" if name in _SECRET else masked(repr(fault["input"]))
    if fault["type"] == "too_short" and name in _SECRET:
        message = f"it needs at least {SHORTEST_SECRET} random characters, such as `openssl rand -hex 32` gives"
    return f"{setting} cannot be {value}: {message}. See python -m serving --help.\n"
