"""Views that show kept decisions, in every width and in light and dark."""

import pytest
from playwright.sync_api import expect

from tests.browser.accessibility import overflow, violations
from tests.browser.conftest import Pictures, Visitor
from tests.browser.visits import LOOKS
from tests.support.gateway import Gateway

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
@pytest.mark.parametrize("view", ["review", "model", "watch"])
def test_it_is_accessible_and_fits(
    visit: Visitor, watched: Gateway, view: str, width: int, scheme: str, pictures: Pictures
) -> None:
    tab = visit(url=watched.url, width=width, scheme=scheme)
    page = tab.open(view)
    expect(page.locator(".chart").first).to_be_visible()
    page.locator("details").first.locator("summary").click()
    assert violations(page) == []
    assert overflow(page) == 0
    if width < 640:
        wide = "tables => tables.filter(each => each.scrollWidth > each.parentElement.clientWidth).length"
        assert page.locator("table.stack").evaluate_all(wide) == 0, "no row of a table is cut on a phone"
    pictures(tab, f"{view}-{width}-{scheme}")
