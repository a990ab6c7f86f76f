"""No message shows a password."""

import pytest

from stores.error_text import masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:sesame@host/x refused", "http://***@host/x refused"),
        ("postgresql://me:p%40ss@h/db?password=sesame&x=1", "postgresql://***@h/db?password=***&x=1"),
        ("postgresql://me:p@ss@h/db", "postgresql://***@h/db"),
        ("postgresql://me:pa/ss@h/db is unreachable", "postgresql://***@h/db is unreachable"),
        ("redis://:p/a@ss@h:6379/0", "redis://***@h:6379/0"),
        ("token@h is no address, http://token@h is", "token@h is no address, http://***@h is"),
        ("http://h/x?access_token=sesame&sslpassword=sesame", "http://h/x?access_token=***&sslpassword=***"),
        ("GET http://h/b?X-Amz-Signature=ab12&X-Amz-Expires=3", "GET http://h/b?X-Amz-Signature=***&X-Amz-Expires=***"),
        ("host=h password=sesame dbname=d", "host=h password=*** dbname=d"),
        ("http://127.0.0.1:5000 refused, ask ops@bank.example", "http://127.0.0.1:5000 refused, ask ops@bank.example"),
        ("nothing@all", "nothing@all"),
    ],
)
def test_secrets_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown
