"""Whoever answers for MLflow or S3 is heard for so long and so much, then no more."""

import threading
from collections.abc import Iterator

import pytest
from urllib3.connection import HTTPConnection

from ml_project.errors import FraudError, Unavailable
from stores import answers, mlflow_client
from stores.registry import PRODUCTION, Registry
from stores.s3 import S3Objects
from tests.support.hostile_server import BEHAVIOURS, dribbled_body, endless, hostile_server

SAID = {
    "dribbled head": "its answer takes too long",
    "dribbled body": "its answer takes too long",
    "endless": "its answer is too large",
    "compressed": "its answer is compressed",
    "html": "JSON",
    "server error": "Max retries exceeded",
    "come back later": "Max retries exceeded",
    "list": "JSON|not MLflow's",
    "odd alias": "not MLflow's",
}


@pytest.fixture(autouse=True)
def bounded(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process takes answers as a gateway does, until the test ends."""
    monkeypatch.setattr(HTTPConnection, "response_class", HTTPConnection.response_class)
    monkeypatch.setattr(answers, "_seconds", answers._seconds)
    for name, value in (mlflow_client._QUICK | {"MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}).items():
        monkeypatch.setenv(name, value)
    answers.bound_answers(0.5)
    yield
    answers._abandoned.clear()


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_the_registry_says_what_is_wrong_and_does_not_wait(name: str) -> None:
    with hostile_server(BEHAVIOURS[name]) as url, pytest.raises(Unavailable, match=SAID[name]) as caught:
        Registry(url, "m").resolve(PRODUCTION)
    assert len(str(caught.value)) < 1_000


@pytest.mark.parametrize("behaviour", [dribbled_body, endless])
def test_s3_is_heard_no_longer(behaviour, s3_credentials) -> None:
    with hostile_server(behaviour) as url, pytest.raises(FraudError) as caught:
        S3Objects("s3://bucket/releases", url, setting="FRAUD_RELEASES_URI").read("Production.json", 1_000)
    assert "s3://bucket/releases/Production.json" in str(caught.value)


def test_an_answer_of_ordinary_size_is_taken_whole() -> None:
    from tests.support.hostile_server import whole

    body = b'{"registered_model": {"name": "m", "description": "%s"}}' % (b"x" * 3_000_000)
    with hostile_server(whole(body)) as url:
        assert Registry(url, "m").aliases() == {}


def test_a_process_that_ends_waits_for_no_answer() -> None:
    answers.bound_answers(3600)
    asked, caught = threading.Event(), []

    def ask(url: str) -> None:
        try:
            Registry(url, "m").resolve(PRODUCTION)
        except Unavailable as error:
            caught.append(error)

    def noticed(connection, ended) -> None:
        asked.set()
        dribbled_body(connection, ended)

    with hostile_server(noticed) as url:
        asking = threading.Thread(target=ask, args=(url,))
        asking.start()
        assert asked.wait(60)
        answers.abandon_answers()
        asking.join(60)
        assert len(caught) == 1
