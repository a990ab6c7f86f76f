"""Security headers on every answer, whatever became of the request; and the two ways of POST /predict."""

import json

import pytest

from tests.unit.serving.conftest import FakeProduction

EXPECTED = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-embedder-policy": "require-corp",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
ORIGIN = {"Origin": "https://bank.example", "Cookie": "session=1"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/metrics", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/predict", 405),
        ("POST", "/predict", 415),
    ],
)
def test_every_answer_has_them_once(gateway, method, path, status) -> None:
    answer = gateway.client.request(method, path)
    assert answer.status_code == status
    assert {name: answer.headers.get_list(name) for name in EXPECTED} == {n: [v] for n, v in EXPECTED.items()}
    assert "strict-transport-security" not in answer.headers


def test_unexpected_errors_have_them_too(serve, source, scorer, legitimate) -> None:
    class Breaking:
        bundle, thresholds, contract, broken = scorer.bundle, scorer.thresholds, scorer.contract, False

        def score(self, raw):
            if self.broken:
                raise RuntimeError
            return scorer.score(raw)

    source.promote(1, breaking := Breaking())
    with serve(source) as gateway:
        gateway.wait_for(1)
        breaking.broken = True
        answer = gateway.client.post("/predict", json=legitimate)
    assert answer.status_code == 500
    assert {name: answer.headers[name] for name in EXPECTED} == EXPECTED


def test_https_only_by_setting(serve, source) -> None:
    with serve(source, hsts_seconds=31_536_000) as gateway:
        headers = gateway.client.get("/health").headers
    assert headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"


@pytest.mark.parametrize("name", ["traceparent", "x-requested-with", "x-api-key", "whatever-is-invented-next"])
def test_a_page_that_may_call_may_send_any_header(serve, source, name) -> None:
    asks = ORIGIN | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": name}
    with serve(source, cors_origins=(ORIGIN["Origin"],)) as gateway:
        answer = gateway.client.options("/predict", headers=asks)
        elsewhere = gateway.client.options("/predict", headers=asks | {"Origin": "https://other.example"})
    assert answer.status_code == 200
    assert name in answer.headers["access-control-allow-headers"]
    assert elsewhere.status_code == 400


def test_any_origin_never_goes_with_credentials(serve, source) -> None:
    asks = ORIGIN | {"Access-Control-Request-Method": "POST"}
    with serve(source, cors_origins=("*",)) as gateway:
        answers = [gateway.client.get("/health", headers=ORIGIN), gateway.client.options("/predict", headers=asks)]
    for answer in answers:
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] in ("*", ORIGIN["Origin"])
        assert "access-control-allow-credentials" not in answer.headers


@pytest.fixture(scope="module")
def guarded(serve, scorer):
    """A gateway that asks for keys, and its headers."""
    key = "a-key-that-is-long-enough-for-a-gateway"
    source = FakeProduction()
    source.promote(1, scorer)
    settings = {"require_keys": "true", "bootstrap_key": key, "rate_limit": "100000/minute", "hsts_seconds": 60}
    with serve(source, **settings) as gateway:
        gateway.wait_for(1)
        yield gateway, {"X-API-Key": key, "Content-Type": "application/json", "X-Request-ID": "asked-twice"}


def _without(transaction, name):
    return {each: value for each, value in transaction.items() if each != name}


@pytest.mark.parametrize(
    ("change", "headers", "status"),
    [
        (lambda sent: json.dumps(sent), {}, 200),
        (lambda sent: "\ufeff" + json.dumps(sent), {}, 200),
        (lambda sent: json.dumps(_without(sent, "V14")), {}, 422),
        (lambda sent: json.dumps(sent | {"V14": "much", "V15": None, "another": 1}), {}, 422),
        (lambda sent: json.dumps([sent]), {}, 422),
        (lambda sent: json.dumps(sent)[:-1], {}, 400),
        (lambda sent: json.dumps(sent)[:-1] + ', "V14": 1}', {}, 400),
        (lambda _sent: "[" * 20 + "]" * 20, {}, 400),
        (lambda _sent: "", {}, 400),
        (lambda sent: json.dumps(sent) + " " * 2**20, {}, 413),
        (lambda sent: json.dumps(sent), {"Content-Type": "text/csv"}, 415),
        (lambda sent: json.dumps(sent), {"Content-Encoding": "gzip"}, 415),
        (lambda sent: json.dumps(sent), {"X-API-Key": ""}, 401),
        (lambda sent: json.dumps(sent), {"X-API-Key": "another"}, 401),
    ],
)
def test_the_short_way_and_the_long_way_answer_alike(guarded, fraudulent, change, headers, status) -> None:
    """POST /predict goes around FastAPI, unless it has a query; with a transaction_id both give the first answer."""
    gateway, usual = guarded
    body = change(fraudulent | {"transaction_id": "the-short-and-the-long-way"})
    answers = []
    for path in ("/predict", "/predict?explain=false", "/predict"):
        answer = gateway.client.post(path, content=body.encode(), headers=usual | headers)
        told = sorted((name, value) for name, value in answer.headers.multi_items() if name != "date")
        answers.append((answer.status_code, told, answer.content))
    assert answers[0][0] == status
    assert answers[1] == answers[0]
    assert answers[2] == answers[0]


def test_both_ways_are_logged_and_counted_alike(guarded, legitimate, caplog) -> None:
    gateway, usual = guarded
    lines = []
    for path in ("/predict", "/predict?explain=false"):
        before = gateway.client.get("/metrics", headers=usual | {"Accept": "application/json"}).json()
        caplog.clear()
        with caplog.at_level("INFO", logger="serving.requests"):
            gateway.client.post(path, json=legitimate, headers=usual).raise_for_status()
            # once this is answered, all that belongs to the request before it is done
            after = gateway.client.get("/metrics", headers=usual | {"Accept": "application/json"}).json()
        [record] = [each for each in caplog.records if getattr(each, "fields", {}).get("path") == "/predict"]
        lines.append((record.levelname, record.message, sorted(record.fields)))
        assert after["total_requests"] == before["total_requests"] + 1
        assert after["legitimate_predictions"] == before["legitimate_predictions"] + 1
    assert lines[0] == lines[1]
