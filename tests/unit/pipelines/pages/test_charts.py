import re

from pipelines.pages.charts import Axis, Line, chart


def test_a_chart_takes_its_colours_and_letters_from_the_page() -> None:
    line = Line("model", [0, 1, 2], [3.0, 1.0, 2.0], "second", marker="o", fill=True)
    svg = chart("Cost <of> it", Axis("alerts"), Axis("cost"), [line])
    assert svg.startswith('<svg viewBox="0 0 331.2 237.6" role="img" aria-label="Cost &lt;of&gt; it">')
    assert svg.rstrip().endswith("</svg>")
    assert "var(--second)" in svg
    assert not re.search(r"#0102\d\d", svg)
    assert "<metadata>" not in svg
    assert ">alerts</text>" in svg


def test_logarithmic_axes_have_plain_numbers() -> None:
    svg = chart("t", Axis("x", log=True), Axis("y", log=True), [Line("", [1, 10, 10_000], [0.001, 0.1, 1])])
    assert ">10,000</text>" in svg
    assert ">0.001</text>" in svg


def test_the_same_chart_twice_is_the_same_text() -> None:
    lines = [Line("a", [0, 1], [0, 1])]
    assert chart("t", Axis("x"), Axis("y"), lines) == chart("t", Axis("x"), Axis("y"), lines)
