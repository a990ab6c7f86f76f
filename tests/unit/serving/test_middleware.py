"""Security headers on every answer, whatever became of the request."""

import pytest

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
