"""What is kept of a card or customer in place of its name: a keyed hash, the same for the same name.

HMAC-SHA256 (RFC 2104), of which 128 bits are kept. Without the secret nobody can try names against it, which is quick
for a plain hash: there are only so many card numbers. The field is part of what is hashed, so that a customer and a
terminal of one name are not told to be one.
"""

import base64
import hmac
import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

PREFIX: Final = "key~"
"""A name never looks like this by chance."""

_BYTES: Final = 16
_HASH: Final = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{21}}[AQgw]")  # 128 bits leave four ends of 22 characters

SHORTEST_KEY_SECRET: Final = 16
"""Characters."""


def is_hashed(name: str) -> bool:
    """Whether a name is a hash already."""
    return name.startswith(PREFIX) and _HASH.fullmatch(name) is not None


class KeyHash:
    """Hashes the names of entities; safe to share between threads.

    Parameters
    ----------
    secret : str
        With another one, every name has another hash, and what is kept under the former ones is not found.
    """

    def __init__(self, secret: str) -> None:
        self._begun = cache(lambda field: hmac.new(secret.encode(), f"{field}\x1f".encode(), "sha256"))

    @staticmethod
    @cache
    def by(secret: str) -> "KeyHash":
        """The one of a secret, made once."""
        return KeyHash(secret)

    def of(self, field: str, name: str) -> str:
        """The hash of a field's name, 26 characters; of a hash, itself: what was hashed before is not hashed again."""
        if is_hashed(name):
            return name
        hashing = self._begun(field).copy()  # half of the time that it takes from the beginning
        hashing.update(name.encode(errors="surrogatepass"))
        return PREFIX + base64.urlsafe_b64encode(hashing.digest()[:_BYTES]).decode().rstrip("=")

    def of_all(self, field: str, names: Sequence[str | None]) -> list[str | None]:
        """The hashes of many, each different name hashed once; missing ones stay missing."""
        known: dict[str | None, str | None] = {name: self.of(field, name) for name in _present(names)}
        return [known.get(name) for name in names]


def _present(names: Iterable[str | None]) -> set[str]:
    return {name for name in names if name is not None}
