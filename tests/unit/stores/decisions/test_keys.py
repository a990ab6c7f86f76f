import hashlib
import time
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from ml_project.errors import InvalidInput, Refused, Unavailable
from stores.decisions import InvalidKey, Keys, MissingScope, open_engine


def test_a_key_is_shown_once_and_stored_as_a_hash(engine: Engine) -> None:
    keys = Keys(engine)
    plaintext = keys.create("till", ["predict", "read"])
    assert plaintext.startswith("fk_")
    assert len(plaintext) == 3 + 43
    key = keys.verify(plaintext, "predict")
    assert (key.name, key.scopes, key.revoked_at) == ("till", {"predict", "read"}, None)
    assert key.sha256 == hashlib.sha256(plaintext.encode()).digest()
    with engine.connect() as connection:
        assert plaintext not in str(connection.execute(text("SELECT * FROM keys")).all())
    assert [key.name for key in keys.list()] == ["till"]


def test_what_is_refused(engine: Engine) -> None:
    keys = Keys(engine)
    plaintext = keys.create("till", ["predict"])
    with pytest.raises(MissingScope, match="'till' lacks the scope 'feedback'"):
        keys.verify(plaintext, "feedback")
    for wrong in ("", plaintext[:-1], plaintext + "x", "fk_" + "a" * 43, "\udcff"):
        with pytest.raises(InvalidKey):
            keys.verify(wrong, "predict")
    with pytest.raises(Refused, match="'till'"):
        keys.create("till", ["predict"])
    with pytest.raises(InvalidInput, match="Scopes"):
        keys.create("other", ["administrate"])
    with pytest.raises(InvalidInput, match="Scopes"):
        keys.create("other", [])
    with pytest.raises(InvalidInput, match="name"):
        keys.create("a\nb", ["read"])


def test_a_revoked_key_ends_in_other_processes_too(engine: Engine) -> None:
    keys, elsewhere = Keys(engine), Keys(engine, cache_seconds=0.2)
    plaintext = keys.create("till", ["predict"])
    elsewhere.verify(plaintext, "predict")
    keys.revoke("till")
    with pytest.raises(InvalidKey):
        keys.verify(plaintext, "predict")
    time.sleep(0.3)
    with pytest.raises(InvalidKey):
        elsewhere.verify(plaintext, "predict")
    with pytest.raises(InvalidInput, match="No active key is named 'till'"):
        keys.revoke("till")
    with pytest.raises(Refused):
        keys.create("till", ["predict"])


def test_a_started_copy_follows_by_itself(engine: Engine) -> None:
    keys = Keys(engine, cache_seconds=0.05)
    keys.start()
    plaintext = Keys(engine).create("till", ["predict"])
    deadline = time.monotonic() + 60
    while True:
        try:
            keys.verify(plaintext, "predict")
            break
        except InvalidKey:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    keys.close()


def test_the_first_key_comes_from_a_secret(engine: Engine) -> None:
    keys = Keys(engine)
    secret = "s" * 32
    for _ in range(2):
        keys.ensure("first", ["read"], secret)
    assert keys.verify(secret, "read").name == "first"
    with pytest.raises(Refused):
        keys.ensure("first", ["read"], "t" * 32)
    with pytest.raises(InvalidInput, match="fewer than 32"):
        keys.ensure("second", ["read"], "short")


def test_a_database_that_is_away_locks_nobody_out(
    sqlite_store: object, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    engine = open_engine(f"sqlite:///{tmp_path}/decisions.db")
    keys = Keys(engine, cache_seconds=0.0)
    plaintext = keys.create("till", ["predict"])
    (tmp_path / "decisions.db").rename(tmp_path / "away.db")
    assert keys.verify(plaintext, "predict").name == "till"
    assert "the last ones stay in force" in caplog.text
    with pytest.raises(Unavailable):
        Keys(engine).verify(plaintext, "predict")
    engine.dispose()
