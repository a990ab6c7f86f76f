"""The page's files: all from here, nothing in them that the policy forbids, and served so that copies stay right."""

import re

import pytest

from serving.settings import GatewaySettings
from tests.support.machine import ROOT
from tests.unit.serving.test_docs_page import Page

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
    assert len(text.splitlines()) <= 200
    addresses = re.findall(r"https?://[^\s\"'`)]+", text)
    assert set(addresses) <= {"http://www.w3.org/2000/svg"}
    assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|\beval\b|document\.write", text) == []
