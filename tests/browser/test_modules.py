"""Modules of the page that count and read, asked directly."""

import pytest
from playwright.sync_api import Page

from tests.browser.conftest import Visitor

pytestmark = pytest.mark.slow


@pytest.fixture
def page(visit: Visitor) -> Page:
    return visit().open("score")


def test_an_axis_is_linear_or_logarithmic_as_the_threshold_wants(page: Page) -> None:
    places = "(alert, scores) => import('/ui/charts/scores.js').then(m => scores.map(m.scoreAxis(alert).position))"
    call = f"([alert, scores]) => ({places})(alert, scores)"
    assert page.evaluate(call, [0.3, [0, 0.25, 1, 2, -1]]) == [0, 0.25, 1, 1, 0]
    assert page.evaluate(call, [0.01, [0, 1e-5, 0.01, 0.1, 1, 1e-9]]) == pytest.approx([0, 0, 0.6, 0.8, 1, 0])
    assert page.evaluate(call, [None, [0.5]]) == [0.5]
    back = "() => import('/ui/charts/scores.js').then(m => m.scoreAxis(0.002)).then(a => a.at(a.position(0.3)))"
    assert page.evaluate(back) == pytest.approx(0.3)


def test_numbers_never_pretend(page: Page) -> None:
    call = "([name, value]) => import('/ui/format.js').then(m => m[name](value))"
    shown = {
        ("percent", 0): "0 %",
        ("percent", 0.123456): "12.3 %",
        ("percent", 0.0000123): "0.0012 %",
        ("percent", 1e-9): "< 0.0001 %",
        ("percent", 0.99987): "99.987 %",
        ("percent", 1): "100 %",
        ("percent", 0.85): "85.0 %",
        ("percent", 0.0055): "0.55 %",
        ("score", 0.59): "0.590",
        ("score", 1.45e-6): "1.45e-6",
        ("score", 0): "0",
        ("ratio", 0.01): "0.010",
        ("significant", 1.45e-6): "1.45e-6",
        ("significant", 0.19369): "0.194",
        ("significant", 1e-5): "1e-5",
        ("significant", 0): "0",
        ("integer", 1234567): "1,234,567",
        ("amount", 1234.5): "€1,234.50",
        ("total", 1234567.8): "€1,234,568",
        ("duration", 90): "1 min 30 s",
        ("duration", 119.7): "2 min 0 s",
        ("bytes", 56_900_000): "56.9 MB",
    }
    assert {asked: page.evaluate(call, list(asked)) for asked in shown} == shown


def test_answers_are_read_whatever_the_pieces(page: Page) -> None:
    text = 'row,"error",id\r\n1,,"a,b"\n2,"say ""no""; 1,2",\n3,x,"é"\n'
    call = """([text, size]) => import('/ui/views/file/contents.js').then(m => {
        const rows = [];
        const reader = new m.CsvReader((cells, header) => rows.push([header, cells]));
        for (let place = 0; place < text.length; place += size) reader.feed(text.slice(place, place + size));
        reader.end();
        return rows;
    })"""
    header = ["row", "error", "id"]
    expected = [["1", "", "a,b"], ["2", 'say "no"; 1,2', ""], ["3", "x", "é"]]
    for size in (1, 2, 7, len(text)):
        assert page.evaluate(call, [text, size]) == [[header, cells] for cells in expected]
    with pytest.raises(Exception, match="cut off"):
        page.evaluate(call, [text + "4,", 5])


def test_downloads_run_no_formulas(page: Page) -> None:
    call = "rows => import('/ui/views/file/contents.js').then(m => m.download('a.csv', rows))"
    with page.expect_download() as saved:
        page.evaluate(call, [["=1+1", -5, 'a,"b'], ["@x", 1, ""]])
    assert saved.value.path().read_text() == '\'=1+1,-5,"a,""b"\n\'@x,1,\n'
