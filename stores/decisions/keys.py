"""API keys: shown once, stored as SHA-256, revoked without a restart.

A plain hash is enough: a key has 256 random bits, so there is no list of likely keys that a slow hash would have to
make expensive; and every request can afford it. All keys are copied into memory: no request waits for the database, and
a database that is unreachable locks no client out.
"""

import hashlib
import hmac
import logging
import secrets
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Engine, insert, select, update
from sqlalchemy.exc import IntegrityError

from ml_project.errors import InvalidInput, Refused, Unavailable
from stores.decisions.records import InvalidKey, MissingScope
from stores.decisions.schema import keys
from stores.sql import translated

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Key:
    """What is known about a key; never the key itself."""

    name: str
    scopes: frozenset[str]
    created_at: datetime
    revoked_at: datetime | None
    sha256: bytes


class KeyCopy:
    """All keys by their hash, read again when older than ``seconds``: by a thread once started, else by who asks.

    Keys are few, so that all of them are read at once; guesses then cost the database nothing.
    """

    def __init__(self, read: Callable[[], list[Key]], seconds: float) -> None:
        self._read = read
        self._seconds = seconds
        self._keys: dict[bytes, Key] | None = None
        self._read_at = 0.0
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="key-reader", daemon=True)

    def start(self) -> None:
        """Read from now on in the background; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(self._seconds)

    def current(self) -> dict[bytes, Key]:
        """The keys.

        Raises
        ------
        Unavailable
            When they could never be read.
        """
        copy = self._keys
        if copy is None or (not self._thread.is_alive() and time.monotonic() - self._read_at > self._seconds):
            copy = self.refresh()
        return copy

    def refresh(self) -> dict[bytes, Key]:
        """Read now. The last copy stays while the database is unreachable: decisions must go on into the spool.

        Raises
        ------
        Unavailable
            When there is no last copy.
        """
        with self._lock:
            try:
                self._keys = {key.sha256: key for key in self._read()}
            except Unavailable as error:
                if self._keys is None:
                    raise
                _log.warning("the API keys cannot be read, the last ones stay in force: %s", error)
            self._read_at = time.monotonic()
            return self._keys

    def _run(self) -> None:
        while not self._closing.wait(self._seconds):
            try:
                self.refresh()
            except Exception:  # a thread that ended would leave revoked keys in force
                _log.exception("the API keys cannot be read")


PREFIX: Final = "fk_"
SCOPES: Final = frozenset({"predict", "feedback", "read"})
_RANDOM_BYTES, _SHORTEST, _LONGEST_NAME = 32, 32, 128


class Keys:
    """The keys in the decision database; safe to share between threads.

    Parameters
    ----------
    engine : Engine
    cache_seconds : float
        Age at which the copy in memory is read again, and so the longest that a revoked key still works.
    """

    def __init__(self, engine: Engine, cache_seconds: float = 2.0) -> None:
        self._engine = engine
        self._immediate = engine.execution_options(immediate=True)
        self._copy = KeyCopy(self.list, cache_seconds)

    def start(self) -> None:
        """Keep the copy fresh in the background, so that `verify` never waits for the database."""
        self._copy.start()

    def close(self) -> None:
        """End what `start` began."""
        self._copy.close()

    def create(self, name: str, scopes: Collection[str]) -> str:
        """A new key, in plain for the only time.

        Raises
        ------
        InvalidInput
            For an unknown scope or an unfit name.
        Refused
            When the name was ever used: labels bear it.
        """
        plaintext = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        self._insert(name, scopes, plaintext)
        return plaintext

    def ensure(self, name: str, scopes: Collection[str], plaintext: str) -> None:
        """Take a key from a secret, such as the first one; nothing happens where it is there already.

        Raises
        ------
        Refused
            When the name belongs to another key.
        """
        if len(plaintext) < _SHORTEST:
            raise InvalidInput(f"The key {name!r} has fewer than {_SHORTEST} characters.", "Use random ones.")
        if all(key.sha256 != _hash(plaintext) for key in self.list()):
            self._insert(name, scopes, plaintext)

    def verify(self, plaintext: str, scope: str) -> Key:
        """The key, if it is good for this scope; an empty one asks for no more than a key.

        Between `start` and `close` this never touches the database; else, once per ``cache_seconds``.

        Raises
        ------
        InvalidKey
            When it is unknown or revoked.
        MissingScope
            When it may not do this.
        Unavailable
            When the keys could never be read.
        """
        digest = _hash(plaintext)
        key = self._copy.current().get(digest)
        # Looking up a hash tells an attacker nothing: he cannot choose it. The comparison takes the same time anyway.
        if key is None or not hmac.compare_digest(key.sha256, digest) or key.revoked_at is not None:
            raise InvalidKey("The API key is unknown or revoked.", "Send a valid one.")
        if scope and scope not in key.scopes:
            raise MissingScope(f"The API key {key.name!r} lacks the scope {scope!r}.", "Use a key that has it.")
        return key

    def any(self) -> bool:
        """Whether a key was ever made, by the copy that `verify` has.

        Raises
        ------
        Unavailable
            When the keys could never be read.
        """
        return bool(self._copy.current())

    def revoke(self, name: str) -> None:
        """End a key, for all processes within ``cache_seconds``.

        Raises
        ------
        InvalidInput
            When there is no such key in force.
        """
        ended = (
            update(keys).where(keys.c.name == name, keys.c.revoked_at.is_(None)).values(revoked_at=datetime.now(UTC))
        )
        with translated(self._engine.url), self._immediate.begin() as connection:
            if connection.execute(ended).rowcount != 1:
                raise InvalidInput(f"No active key is named {name!r}.", "See the list of keys.")
        self._copy.refresh()

    def list(self) -> list[Key]:
        """All keys, revoked ones included, the oldest first."""
        with translated(self._engine.url), self._engine.connect() as connection:
            rows = connection.execute(select(keys).order_by(keys.c.created_at, keys.c.name)).all()
        return [Key(row.name, frozenset(row.scopes), row.created_at, row.revoked_at, bytes(row.sha256)) for row in rows]

    def _insert(self, name: str, scopes: Collection[str], plaintext: str) -> None:
        if not scopes or not SCOPES.issuperset(scopes):
            raise InvalidInput(f"Scopes cannot be {sorted(scopes)}.", f"Choose from {', '.join(sorted(SCOPES))}.")
        if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
            raise InvalidInput("The key's name is empty, too long or not printable.", "Choose another.")
        row = {
            "name": name,
            "sha256": _hash(plaintext),
            "scopes": sorted(scopes),
            "created_at": datetime.now(UTC),
            "revoked_at": None,
        }
        try:
            with translated(self._engine.url), self._immediate.begin() as connection:
                connection.execute(insert(keys), row)
        except IntegrityError:
            raise Refused(f"A key named {name!r} exists, or did.", "Choose another name.") from None
        self._copy.refresh()


def _hash(plaintext: str) -> bytes:
    return hashlib.sha256(plaintext.encode(errors="surrogatepass")).digest()
