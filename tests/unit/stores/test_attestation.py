"""Statements of the promotion: read back whole or not at all."""

import base64
import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ml_project.errors import InvalidBundle, InvalidInput
from stores.attestation import SigningKey, Statement, TrustedKeys
from stores.released import require_signed
from stores.settings import PlatformSettings

KEY, OTHER = SigningKey("a secret of the promotion, 32 letters"), SigningKey("another secret of no consequence at all")
TRUST = TrustedKeys([KEY.public])
DIGEST = "ab" * 32
SAID = Statement(
    model="fraud-ensemble",
    version=7,
    digest=DIGEST,
    gate="passed",
    approved_by="anna",
    when=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
)
SIGNATURE = KEY.sign(SAID)


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_it_is_a_json_web_signature_that_any_library_can_check() -> None:
    head, body, mark = SIGNATURE.split(".")
    assert json.loads(decoded(head))["alg"] == "EdDSA"
    assert json.loads(decoded(body)) == {
        "model": "fraud-ensemble",
        "version": 7,
        "digest": DIGEST,
        "gate": "passed",
        "approved_by": "anna",
        "when": "2026-01-02T03:04:05Z",
    }
    public = Ed25519PublicKey.from_public_bytes(decoded(KEY.public.removeprefix("ed25519:")))
    public.verify(decoded(mark), f"{head}.{body}".encode())
    with pytest.raises(InvalidSignature):
        public.verify(decoded(mark), f"{head}.{body}x".encode())


def test_it_is_read_back_and_equal_statements_give_equal_texts() -> None:
    assert TRUST.read(SIGNATURE) == SAID
    assert TRUST.require(SIGNATURE, "fraud-ensemble", 7, DIGEST) == SAID
    assert SigningKey("a secret of the promotion, 32 letters").sign(SAID) == SIGNATURE


@pytest.mark.parametrize("signature", [None, "", ".", "..", "a.b.c", "é", SIGNATURE + "A", SIGNATURE[:-4]])
def test_what_is_none_is_refused(signature: str | None) -> None:
    with pytest.raises(InvalidBundle):
        TRUST.read(signature)


@given(st.integers(0, len(SIGNATURE) - 1), st.sampled_from("AZaz09-_.= é"))
def test_a_signature_with_another_letter_says_nothing_else(place: int, letter: str) -> None:
    changed = SIGNATURE[:place] + letter + SIGNATURE[place + 1 :]
    with suppress(InvalidBundle):
        assert TRUST.read(changed) == SAID  # the last letters of a part may have bits to spare


def test_another_key_and_no_algorithm_are_refused() -> None:
    with pytest.raises(InvalidBundle, match="with a key that is not trusted here"):
        TRUST.read(OTHER.sign(SAID))
    body = SIGNATURE.split(".")[1]
    for head in ({"alg": "none"}, {"alg": "EdDSA"}, {"alg": "HS256", "kid": "x"}):
        text = base64.urlsafe_b64encode(json.dumps(head).encode()).decode().rstrip("=")
        with pytest.raises(InvalidBundle, match="not trusted"):
            TRUST.read(f"{text}.{body}.")


@pytest.mark.parametrize(
    "about", [("fraud-other", 7, DIGEST), ("fraud-ensemble", 8, DIGEST), ("fraud-ensemble", 7, "cd" * 32)]
)
def test_of_another_model_version_or_bundle_it_says_nothing(about: tuple[str, int, str]) -> None:
    with pytest.raises(InvalidBundle, match="Its signature is of version 7 of fraud-ensemble"):
        TRUST.require(SIGNATURE, *about)


@pytest.mark.parametrize("gate", ["refused", "none"])
def test_what_was_refused_may_shadow_and_not_answer(gate: str) -> None:
    signature = KEY.sign(SAID.model_copy(update={"gate": gate}))
    require_signed(TRUST, "fraud-ensemble", 7, DIGEST, signature, answers=False)
    with pytest.raises(InvalidBundle, match=f"signed that it may not answer \\(gate: {gate}\\)"):
        require_signed(TRUST, "fraud-ensemble", 7, DIGEST, signature)


def test_keys_come_from_the_setting_or_from_files(tmp_path: Path) -> None:
    file = tmp_path / "promotion.pub"
    file.write_text(f"{OTHER.public}\n{KEY.public}\n")
    assert PlatformSettings().trust is None
    for value in (KEY.public, str(file), f"{OTHER.public}, {file}"):
        trust = PlatformSettings(trusted_keys=value).trust
        assert trust is not None
        assert trust.read(SIGNATURE) == SAID
        assert KEY.public in trust


@pytest.mark.parametrize("content", ["", "ed25519:x", "ssh-ed25519 AAAA", "ed25519:" + "A" * 42 + "!"])
def test_what_is_no_key_is_said_at_the_start(tmp_path: Path, content: str) -> None:
    file = tmp_path / "promotion.pub"
    file.write_text(content)
    for value in (str(file), str(tmp_path / "none"), str(tmp_path), "ed25519:x"):
        with pytest.raises(ValidationError, match=r"It (names the file|holds)"):
            PlatformSettings(trusted_keys=value)
    with pytest.raises(InvalidInput):
        TrustedKeys([str(file)])
