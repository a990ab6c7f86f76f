"""Content negotiation."""

import pytest

from serving.errors import NotAcceptable
from serving.http import media_type_of, negotiate

OFFERED = ("text/csv", "application/json", "application/x")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", "text/csv"),
        ("*/*", "text/csv"),
        ("application/json", "application/json"),
        ("Application/JSON; charset=utf-8", "application/json"),
        ("application/*", "application/json"),
        ("text/html, application/x;q=0.9, application/json;q=0.5", "application/x"),
        ("text/*;q=0.1, application/json;q=0.2", "application/json"),
        ("text/csv;q=0, */*", "application/json"),
        ("text/csv;q=nonsense, application/x", "application/x"),
    ],
)
def test_the_type_that_the_client_likes_best(accept, chosen) -> None:
    assert negotiate(accept, OFFERED) == chosen


@pytest.mark.parametrize("accept", ["text/html", "image/*", "*/*;q=0", "application/json;q=0", "nonsense"])
def test_nothing_that_the_client_takes(accept) -> None:
    with pytest.raises(NotAcceptable, match="text/csv, application/json, application/x"):
        negotiate(accept, OFFERED)


def test_parameters_are_no_part_of_the_type() -> None:
    assert media_type_of(" Text/CSV ; header=present") == "text/csv"
