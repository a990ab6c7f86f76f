"""The page and the API's page."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import serving
from serving.settings import GatewaySettings
from tests.support.machine import ROOT

UI = ROOT / "ui"
FILES = sorted(path.relative_to(ROOT).as_posix() for path in UI.rglob("*") if path.suffix in (".js", ".css", ".svg"))


@pytest.mark.parametrize("path", ["/", "/ui"])
def test_the_page_is_at_both_addresses(gateway, path) -> None:
    answer = gateway.client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = Page(answer.text)
    assert page.forbidden == []
    for address in page.addresses:
        if not address.startswith("#"):
            assert gateway.client.get(f"/{address}").status_code == 200, address


def test_the_other_spelling_leads_to_the_page(gateway) -> None:
    answer = gateway.client.get("/ui/")
    assert (answer.status_code, answer.headers["location"]) == (308, "../ui")


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/docs/", "../docs"),
        ("/health/ready/", "../ready"),
        ("/predict/?explain=true", "../predict?explain=true"),
        ("//other.example/", "../other.example"),
        ("/a%2Fb%3F/", "../a%2Fb%3F"),
    ],
)
def test_no_address_leads_to_another_host_or_out_of_a_prefix(gateway, path, location) -> None:
    headers = {"Host": "localhost", "X-Forwarded-Host": "other.example", "X-Forwarded-Prefix": "/fraud"}
    answer = gateway.client.get(gateway.client.base_url.join("/").copy_with(raw_path=path.encode()), headers=headers)
    assert (answer.status_code, answer.headers["location"]) == (308, location)


@pytest.mark.parametrize(
    "path", ["/", "/ui", "/ui/app.js", "/docs", "/health", "/health/live", "/metrics", "/features"]
)
def test_heads_are_those_of_get(gateway, path) -> None:
    head, whole = gateway.client.head(path), gateway.client.get(path)
    assert (head.status_code, head.content) == (whole.status_code, b"")
    assert head.headers["content-type"] == whole.headers["content-type"]
    assert gateway.client.head("/predict").status_code == 405


@pytest.mark.parametrize(
    ("path", "media_type"),
    [("app.js", "text/javascript"), ("style/tokens.css", "text/css"), ("icon.svg", "image/svg+xml")],
)
def test_copies_are_asked_for_again_and_only_sent_when_changed(gateway, path, media_type) -> None:
    answer = gateway.client.get(f"/ui/{path}")
    assert answer.headers["content-type"].partition(";")[0] == media_type
    assert answer.headers["cache-control"] == "no-cache"
    assert "unsafe" not in answer.headers["content-security-policy"]
    again = gateway.client.get(f"/ui/{path}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("path", ["README.md", "none.js", "style", "..%2Fserving%2Fapp.py", "..%2F..%2Fx.js", "%2Fetc"])
def test_nothing_else_can_be_asked_for(gateway, path) -> None:
    assert gateway.client.get(f"/ui/{path}").status_code == 404


def test_the_page_learns_what_it_shows_things_by(gateway) -> None:
    assert gateway.client.get("/ui/settings.json").json() == {
        "currency": "EUR",
        "mlflow_page": "",
        "model_name": "fraud-ensemble",
    }


@pytest.mark.parametrize(("name", "value"), [("currency", "euro"), ("mlflow_page", "javascript:alert(1)")])
def test_settings_that_the_page_cannot_use_are_refused(name, value) -> None:
    with pytest.raises(ValueError, match="pattern"):
        GatewaySettings(**{name: value})


@pytest.mark.parametrize("path", FILES)
def test_files_are_small_and_take_nothing_from_elsewhere(path) -> None:
    text = (ROOT / path).read_text()
    assert len(text.splitlines()) <= 300
    addresses = re.findall(r"https?://[^\s\"'`)]+", text)
    assert set(addresses) <= {"http://www.w3.org/2000/svg"}
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\b|document\.write", text) == []


STATIC = Path(serving.__file__).parent / "static"
PROBLEM = "application/problem+json"


class Page(HTMLParser):
    """What a browser would load or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.forbidden: list[str] = []
        self._tag = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        for name, value in attributes:
            if name in ("src", "href"):
                self.addresses.append(value or "")
            if name == "style" or name.startswith("on"):
                self.forbidden.append(f"{tag} {name}")

    def handle_endtag(self, _tag: str) -> None:
        self._tag = ""

    def handle_data(self, data: str) -> None:
        if self._tag in ("script", "style") and data.strip():
            self.forbidden.append(data)


def test_everything_comes_from_here(gateway) -> None:
    answer = gateway.client.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "//" not in answer.text
    page = Page(answer.text)
    assert len(page.addresses) == 7
    for address in page.addresses:
        assert gateway.client.get(f"/{address}").status_code == 200


def test_the_page_obeys_its_policy(gateway) -> None:
    answer = gateway.client.get("/docs")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; frame-ancestors 'none'; object-src 'none'; base-uri 'none'")
    assert "unsafe" not in policy
    assert Page(answer.text).forbidden == []
    script = (STATIC / "docs.js").read_text()
    assert not re.search(r"https?://|\beval\b|innerHTML|\.style\b", script)


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("docs.js", "text/javascript"),
        ("docs.css", "text/css"),
        ("swagger-ui-bundle.js", "text/javascript"),
        ("swagger-ui.css", "text/css"),
        ("favicon-32x32.png", "image/png"),
    ],
)
def test_assets(gateway, name, media_type) -> None:
    answer = gateway.client.get(f"/docs/assets/{name}")
    assert answer.headers["content-type"].partition(";")[0] == media_type
    assert answer.headers["cache-control"] == "public, max-age=3600"
    assert len(answer.content) > 500


@pytest.mark.parametrize("name", ["docs.html", "index.html", "..%2Fdocs.html", "..%2F..%2Fapp.py", "%2Fetc%2Fpasswd"])
def test_no_other_file_can_be_asked_for(gateway, name) -> None:
    assert gateway.client.get(f"/docs/assets/{name}").status_code == 404


def contents(openapi: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every body that the description speaks of, by route and status."""
    found = {}
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            bodies = {"request": operation.get("requestBody", {}), **operation["responses"]}
            for name, body in bodies.items():
                for media_type, content in body.get("content", {}).items():
                    found[f"{method} {path} {name} {media_type}"] = content
    return found


def test_every_body_has_an_example(gateway) -> None:
    bodies = contents(gateway.client.get("/openapi.json").json())
    # What is no text cannot be shown in JSON.
    binary = [name for name in bodies if name.endswith(("parquet", "arrow.stream", "form-data"))]
    assert binary
    without = [name for name, body in bodies.items() if not {"example", "examples"} & set(body)]
    assert sorted(set(without) - set(binary)) == []


def test_the_list_of_routes_says_what_each_does(gateway) -> None:
    paths = gateway.client.get("/openapi.json").json()["paths"]
    said = {path: operation["summary"] for path, operations in paths.items() for operation in operations.values()}
    assert (said["/predict"], said["/predict-batch"]) == ("Score one transaction", "Score a batch")
    assert all(len(words.split()) >= 2 and len(words) < 100 for words in said.values()), said


def test_examples_of_errors_are_what_clients_get(gateway) -> None:
    bodies = contents(gateway.client.get("/openapi.json").json())
    described = bodies[f"post /predict 422 {PROBLEM}"]["example"]
    actual = gateway.client.post("/predict", json={}).json()
    assert set(described) == set(actual)
    for name, body in bodies.items():
        if name.endswith(PROBLEM):
            assert body["example"]["status"] == int(name.split()[2])
            assert set(body["example"]) >= {"type", "title", "status", "detail", "request_id"}


def test_guarded_routes_name_their_keys_and_refusals(gateway) -> None:
    description = gateway.client.get("/openapi.json").json()
    assert set(description["components"]["securitySchemes"]) == {"ApiKey", "Bearer"}
    guarded = ("/predict", "/predict-batch", "/feedback", "/predictions", "/predictions/{prediction_id}", "/features")
    for path in (*guarded, "/metrics"):
        for operation in description["paths"][path].values():
            assert operation["security"] == [{"ApiKey": []}, {"Bearer": []}]
            assert {"401", "403", "429"} <= set(operation["responses"])
    for path in ("/health", "/health/live", "/health/ready"):
        assert "security" not in description["paths"][path]["get"]
        assert "401" not in description["paths"][path]["get"]["responses"]


def test_skipped_rows_are_described(gateway) -> None:
    description = gateway.client.get("/openapi.json").json()
    answers = description["paths"]["/predict-batch"]["post"]["responses"]["200"]["content"]["application/json"]
    names = {kind["$ref"].rpartition("/")[2] for kind in answers["schema"]["items"]["anyOf"]}
    assert names == {"RowPrediction", "SkippedRow"}
    assert set(description["components"]["schemas"]["SkippedRow"]["properties"]) == {"row", "error"}


def test_the_example_transaction_can_be_scored(gateway) -> None:
    bodies = contents(gateway.client.get("/openapi.json").json())
    for path in ("/predict", "/predict-batch"):
        example = bodies[f"post {path} request application/json"]["example"]
        answer = gateway.client.post(path, json=example)
        assert answer.status_code == 200
        shown = bodies[f"post {path} 200 application/json"]["example"]
        first, described = (answer.json(), shown) if path == "/predict" else (answer.json()[0], shown[0])
        assert set(first) - {"reasons", "warnings"} == set(described) - {"reasons", "warnings"}
    answer = gateway.client.post(
        "/predict-batch",
        content=bodies["post /predict-batch request text/csv"]["example"],
        headers={"content-type": "text/csv"},
    )
    assert answer.status_code == 200
