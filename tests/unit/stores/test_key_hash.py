"""Hashes in place of names: the same for the same name, of no use without the secret, never made of a hash."""

import base64
import hashlib
import hmac
import string

from hypothesis import given
from hypothesis import strategies as st

from ml_project.cleaning import LONGEST_NAME
from serving.transactions import MAX_NAME_LENGTH
from stores.key_hash import PREFIX, KeyHash, is_hashed

SECRET = "a secret of the bank"
KEYS = KeyHash(SECRET)
NAMES = st.text(min_size=1, max_size=LONGEST_NAME)


def test_a_hash_is_half_of_hmac_sha256() -> None:
    found = KEYS.of("customer", "C1")
    whole = hmac.new(SECRET.encode(), b"customer\x1fC1", hashlib.sha256).digest()
    assert found.startswith(PREFIX)
    assert base64.urlsafe_b64decode(found.removeprefix(PREFIX) + "==") == whole[:16]


@given(NAMES)
def test_what_is_hashed_stays_and_fits_where_names_do(name: str) -> None:
    found = KEYS.of("customer", name)
    assert is_hashed(found)
    assert KEYS.of("customer", found) == KEYS.of("terminal", found) == KeyHash("quite another").of("x", found) == found
    assert len(found) <= min(MAX_NAME_LENGTH, LONGEST_NAME)
    assert set(found) <= {*string.ascii_letters, *string.digits, *"-_~"}


@given(NAMES, NAMES)
def test_equal_is_what_was_equal(name: str, other: str) -> None:
    assert (KEYS.of("customer", name) == KEYS.of("customer", other)) == (name == other)


def test_other_secrets_and_other_fields_give_others() -> None:
    found = {KEYS.of("customer", "7"), KEYS.of("terminal", "7"), KeyHash("another secret").of("customer", "7")}
    assert len(found) == 3


def test_names_that_only_look_alike_are_hashed() -> None:
    real = KEYS.of("customer", "7")
    for name in (PREFIX, real[:-1], f"{real}A", f" {real}", real.removeprefix(PREFIX), f"{real[:-1]}B", f"{real}\n"):
        assert KEYS.of("customer", name) != name


def test_many_are_hashed_once_each_and_missing_ones_stay_missing() -> None:
    hashed: list[str] = []

    class Counting(KeyHash):
        def of(self, field: str, name: str) -> str:
            hashed.append(name)
            return super().of(field, name)

    names = ["a", None, "b", "a", None, "a"] * 100
    found = Counting(SECRET).of_all("card", names)
    assert found == [None if name is None else KEYS.of("card", name) for name in names]
    assert sorted(hashed) == ["a", "b"]
