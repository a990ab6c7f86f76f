"""What the promotion says of a version, signed: gateways believe it, whoever else may write to MLflow or the releases.

A statement names version, bundle, gate result and approver. It is signed with Ed25519 (RFC 8032) as a JSON Web
Signature in compact form (RFC 7515, RFC 8037), so that any library can check it. The private key comes from a secret
that the promotion alone has; gateways hold the public key, with which nothing can be signed.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from ml_project.errors import InvalidBundle, InvalidInput
from stores.moves import Verdict

_PREFIX: Final = "ed25519:"
_DERIVATION: Final = b"fraud platform: signature of promotions, version 1"
_LONGEST: Final = 8_192
_KEY_BYTES: Final = 32


class Statement(BaseModel):
    """What the promotion says of a version.

    Attributes
    ----------
    digest
        SHA-256 of the version's bundle.
    gate
        The verdict under which it may be used.
    approved_by, asked_by
        Who let it pass, and who had asked for it where that was another person.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    version: int
    digest: str
    gate: Verdict
    approved_by: str
    asked_by: str | None = None
    when: AwareDatetime


class SigningKey:
    """The promotion's key.

    Parameters
    ----------
    secret : str
        Any secret of at least 32 random characters; the key is derived from it (HKDF, RFC 5869).
    """

    def __init__(self, secret: str) -> None:
        derived = HKDF(SHA256(), _KEY_BYTES, salt=None, info=_DERIVATION).derive(secret.encode())
        self._private = Ed25519PrivateKey.from_private_bytes(derived)

    @property
    def public(self) -> str:
        """What gateways are given, such as ``ed25519:Qm9…``."""
        return _PREFIX + _encoded(self._private.public_key().public_bytes_raw())

    def sign(self, statement: Statement) -> str:
        """The statement with its signature, in ASCII without spaces; equal statements give equal texts."""
        content = statement.model_dump_json(exclude_none=True).encode()
        signed = f"{_encoded(_header(self.public))}.{_encoded(content)}"
        return f"{signed}.{_encoded(self._private.sign(signed.encode()))}"


class TrustedKeys:
    """The public keys of promotions that are believed.

    Parameters
    ----------
    entries : iterable of str
        Public keys as `SigningKey.public` writes them, or paths of files with one on each line.

    Raises
    ------
    InvalidInput
        When an entry is neither.
    """

    def __init__(self, entries: Iterable[str]) -> None:
        keys = [key for entry in entries for key in _keys_of(entry)]
        self._public = {_header(key): _public(key) for key in keys}

    def __contains__(self, key: str) -> bool:
        """Whether a public key is one of them."""
        return _header(key) in self._public

    def read(self, signature: str | None) -> Statement:
        """The statement that a signature stands for.

        Raises
        ------
        InvalidBundle
            When there is none, it is by another key, or it was changed.
        """
        if not signature:
            raise InvalidBundle("It is not signed by the promotion.", _REMEDY)
        signed, _, mark = signature[:_LONGEST].rpartition(".")
        head, _, body = signed.partition(".")
        try:
            public = self._public.get(_decoded(head))
            if public is None:
                raise InvalidBundle("It is signed with a key that is not trusted here.", _REMEDY)
            public.verify(_decoded(mark), signed.encode())
            return Statement.model_validate_json(_decoded(body))
        except (InvalidSignature, ValidationError, ValueError) as error:
            raise InvalidBundle("Its signature is not the promotion's: it was changed.", _REMEDY) from error

    def require(self, signature: str | None, model: str, version: int, digest: str) -> Statement:
        """The statement of a signature that is about this version with this bundle.

        Raises
        ------
        InvalidBundle
            As `read` does, and when it is about another one.
        """
        said = self.read(signature)
        if (said.model, said.version, said.digest) != (model, version, digest):
            raise InvalidBundle(
                f"Its signature is of version {said.version} of {said.model} with the digest {said.digest[:12]}….",
                _REMEDY,
            )
        return said


_REMEDY: Final = "Roll back, or promote it with the promotion's key (FRAUD_SIGNING_KEY)."


def _header(public: str) -> bytes:
    """The protected header, which names the key: nothing in it is a choice of whoever made the signature."""
    name = hashlib.sha256(public.encode()).hexdigest()[:16]
    return json.dumps({"alg": "EdDSA", "kid": name}, separators=(",", ":")).encode()


def _keys_of(entry: str) -> list[str]:
    if entry.startswith(_PREFIX):
        return [entry]
    try:
        found = Path(entry).read_text().split()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise InvalidInput(
            f"It names the file {entry}, which cannot be read: {reason}.",
            "Give keys as `python -m pipelines access key` prints them, or files of such.",
        ) from error
    if not found:
        raise InvalidInput(f"It names the file {entry}, which holds no key.")
    return found


def _public(key: str) -> Ed25519PublicKey:
    try:
        if not key.startswith(_PREFIX):
            raise ValueError(key)
        return Ed25519PublicKey.from_public_bytes(_decoded(key.removeprefix(_PREFIX)))
    except ValueError as error:
        raise InvalidInput(
            f"It holds {key[:60]!r}, which is not a public key.",
            "Give what `python -m pipelines access key` prints.",
        ) from error


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError("not base64url") from error
