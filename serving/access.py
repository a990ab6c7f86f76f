"""Who may do what: API keys with scopes, or nobody's key where the gateway is open to its own machine only."""

import hmac
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from ml_project.errors import Unavailable
from serving.errors import NoKey
from serving.settings import GatewaySettings

if TYPE_CHECKING:
    from stores.decisions import Keys

_PUBLIC: Final = frozenset({"/", "/ui", "/docs", "/health", "/openapi.json", "/hooks/registry"})
"""The last one asks for a signature instead of a key."""

_PUBLIC_FOLDERS: Final = ("/ui/", "/docs/", "/health/")
_SCOPES: Final = {"/predict": "predict", "/predict-batch": "predict", "/feedback": "feedback"}


def scope_of(path: str) -> str | None:
    """The scope that a path asks for: None for the public ones, ``read`` for all that is not listed."""
    if path in _PUBLIC or path.startswith(_PUBLIC_FOLDERS):
        return None
    return _SCOPES.get(path, "read")


def key_in(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The key of ``X-API-Key`` or ``Authorization: Bearer``."""
    for name, value in headers:
        if name == b"x-api-key":
            return value.decode("latin-1").strip() or None
        if name == b"authorization":
            scheme, _, token = value.decode("latin-1").partition(" ")
            if scheme.lower() == "bearer":
                return token.strip() or None
    return None


class Access:
    """Checks keys, and knows whether the gateway is open.

    With ``require_keys=auto`` it is open on a loopback address as long as no key was ever made; a key made meanwhile
    closes it within seconds, for good.

    Parameters
    ----------
    settings : GatewaySettings
    keys : Keys
    prepared : callable
        Whether the database has its tables and the bootstrap key, and the keys were read: from then on nothing here
        waits for it.
    """

    def __init__(self, settings: GatewaySettings, keys: "Keys", prepared: Callable[[], bool]) -> None:
        self._keys = keys
        self._prepared = prepared
        self._may_be_open = settings.require_keys == "auto" and settings.on_loopback and settings.bootstrap_key is None
        self._always_open = settings.require_keys == "false"
        self._any_key = False
        secret = settings.bootstrap_key
        self._bootstrap = None if secret is None else secret.get_secret_value().encode()

    def name(self, plaintext: str | None, scope: str) -> str | None:
        """The name of a key that is good for a scope; None in open mode.

        Raises
        ------
        FraudError
            401 without a key in force, 403 without the scope, 503 while the keys could never be read: nobody is let
            in then but the bearer of the bootstrap secret.
        """
        try:
            if not self._always_open and not self._prepared():
                raise Unavailable("The API keys cannot be read yet.", "Try again when the database is back.")
            if self._is_open():
                return None
            if plaintext is None:
                raise NoKey("This needs an API key.", "Send it as X-API-Key or as Authorization: Bearer.")
            return self._keys.verify(plaintext, scope).name
        except Unavailable:
            given = (plaintext or "").encode()
            if self._bootstrap is None or not hmac.compare_digest(given, self._bootstrap):
                raise
            return "bootstrap"

    def _is_open(self) -> bool:
        if self._always_open or not self._may_be_open or self._any_key:
            return self._always_open
        self._any_key = self._keys.any()
        return not self._any_key
