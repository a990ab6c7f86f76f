"""The frame around the views."""

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import MakeGateway, Visitor
from tests.browser.released import Version


@pytest.mark.slow
def test_status_shows_a_swap_while_the_page_is_open(
    visit: Visitor, make_gateway: MakeGateway, versions: list[Version]
) -> None:
    gateway = make_gateway()
    page = visit(url=gateway.url).open("score")
    status = page.locator("#status")
    expect(status).to_contain_text("Ready · version 1")
    versions[1].publish(gateway.releases)
    expect(status).to_contain_text("Ready · version 2")
    expect(page.locator("#announcer")).to_have_text("Ready · version 2")
