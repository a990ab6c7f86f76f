"""The review queue: look, press one key, next; what was said arrives."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessibility import violations
from tests.browser.conftest import Visitor, started_gateway
from tests.browser.released import Version
from tests.browser.traffic import keep_a_day
from tests.support.gateway import Gateway

pytestmark = pytest.mark.slow

WAIT = 9_000
"""Milliseconds after which a label was sent."""


@pytest.fixture(scope="module")
def busy(versions: list[Version], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with a day of decisions, which tests label some of: each begins with what still waits."""
    with ExitStack() as ends:
        made = started_gateway(ends, tmp_path_factory.mktemp("busy"), versions[0])
        keep_a_day(versions[0], made.state)
        yield made


def waiting(gateway: Gateway, **filters: str) -> list[dict[str, Any]]:
    wanted = {"for_review": "true", "labelled": "false", "limit": "500", **filters}
    items: list[dict[str, Any]] = gateway.client.get("/predictions", params=wanted).json()["items"]
    return items


def labels_of(gateway: Gateway, item: dict[str, Any]) -> list[str]:
    return [each["label"] for each in gateway.client.get(f"/predictions/{item['prediction_id']}").json()["labels"]]


def shows(page: Page, item: dict[str, Any]) -> None:
    """Whether the desk has this prediction; keys mean nothing before it has one."""
    expect(page.get_by_label("Prediction", exact=True)).to_contain_text(item["prediction_id"])


def test_keys_label_undo_and_move_on(visit: Visitor, busy: Gateway) -> None:
    queue = waiting(busy)
    tab = visit(url=busy.url)
    tab.page.clock.install()
    page = tab.open("review")
    shows(page, queue[0])
    page.clock.pause_at(datetime.now(UTC) + timedelta(minutes=1))  # labels wait until we say so

    page.keyboard.press("f")
    shows(page, queue[1])
    expect(page.locator("#announcer")).to_have_text("Labelled fraud")
    page.keyboard.press("l")
    shows(page, queue[2])
    page.keyboard.press("u")
    shows(page, queue[1])
    expect(page.get_by_text("1 labelled")).to_be_visible()
    page.keyboard.press("n")
    shows(page, queue[2])
    page.get_by_role("button", name="Previous").click()
    shows(page, queue[1])
    page.keyboard.press("Control+f")  # the browser's own keys stay its own
    expect(page.get_by_text("1 labelled")).to_be_visible()

    assert labels_of(busy, queue[0]) == []
    page.clock.run_for(WAIT)
    busy.wait_until(lambda: labels_of(busy, queue[0]) == ["fraud"])
    assert labels_of(busy, queue[1]) == []
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()

    # The newest label counts, and both stay: what was sent can still be corrected.
    page.get_by_role("button", name="Previous").click()
    page.get_by_role("button", name="Legitimate").click()
    page.clock.run_for(WAIT)
    busy.wait_until(lambda: labels_of(busy, queue[0]) == ["fraud", "legitimate"])


def test_what_waits_is_sent_when_the_page_is_left(visit: Visitor, busy: Gateway) -> None:
    queue = waiting(busy)
    page = visit(url=busy.url).open("review")
    shows(page, queue[0])
    page.keyboard.press("l")
    page.get_by_role("link", name="Model").click()
    busy.wait_until(lambda: labels_of(busy, queue[0]) == ["legitimate"])
    page.get_by_role("link", name="Review").click()
    shows(page, queue[1])
    page.keyboard.press("f")
    page.goto("about:blank")
    busy.wait_until(lambda: labels_of(busy, queue[1]) == ["fraud"])


def test_keys_can_be_switched_off(visit: Visitor, busy: Gateway) -> None:
    page = visit(url=busy.url).open("review")
    shows(page, waiting(busy)[0])
    page.get_by_label("One-key shortcuts").uncheck()
    page.keyboard.press("f")
    expect(page.get_by_text("0 labelled")).to_be_visible()
    page.reload()
    expect(page.get_by_label("One-key shortcuts")).not_to_be_checked()


def test_the_sample_is_mixed_in_and_marked(visit: Visitor, busy: Gateway) -> None:
    sample = {item["prediction_id"] for item in waiting(busy, decision="APPROVE")}
    assert len(sample) > 5
    page = visit(url=busy.url).open("review")
    page.get_by_label("Order").select_option("riskiest")
    shows(page, waiting(busy, order="riskiest")[0])
    entries = page.locator(".queue button")
    expect(entries.nth(5)).to_contain_text("Random sample")
    expect(entries.nth(4)).not_to_contain_text("Random sample")
    entries.nth(5).click()
    detail = page.get_by_label("Prediction", exact=True)
    expect(detail).to_contain_text("here by chance")
    expect(detail.locator(".signed-bars li").first).to_be_visible()
    shown = detail.locator(".id").inner_text().removeprefix("Prediction ")
    assert shown in sample


def test_an_empty_queue(visit: Visitor) -> None:
    page = visit().open("review")
    expect(page.get_by_label("Prediction", exact=True)).to_be_visible()
    assert violations(page) == []
