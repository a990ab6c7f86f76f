import re
import struct
from pathlib import Path

import numpy as np

from ml_project.unseen_scores import ScoredRows
from pipelines.pages.charts import Axis, Line, Side, chart, curves, model_charts, save_png


def test_a_chart_takes_its_colours_and_letters_from_the_page() -> None:
    line = Line("model", [0, 1, 2], [3.0, 1.0, 2.0], "champion", marker="o", fill=True)
    svg = chart("Cost <of> it", Axis("alerts"), Axis("cost"), [line])
    assert svg.startswith('<svg viewBox="0 0 331.2 237.6" role="img" aria-label="Cost &lt;of&gt; it">')
    assert svg.rstrip().endswith("</svg>")
    assert "var(--champion)" in svg
    assert not re.search(r"#0102[0-9a-f]{2}", svg)
    assert "<metadata>" not in svg
    assert ">alerts</text>" in svg


def test_logarithmic_axes_have_plain_numbers() -> None:
    svg = chart("t", Axis("x", log=True), Axis("y", log=True), [Line("", [1, 10, 10_000], [0.001, 0.1, 1])])
    assert ">10,000</text>" in svg
    assert ">0.001</text>" in svg


def test_a_chart_without_data_says_so_instead_of_axes() -> None:
    svg = chart("t", Axis("x"), Axis("alerts"), [Line("a", [], []), Line("b", [1.0], [np.nan])])
    assert re.findall(r">([^<>]+)</text>", svg) == ["x", "alerts", "no data yet"]


def test_no_two_ticks_have_one_name() -> None:
    svg = chart("t", Axis("days"), Axis("", ticks=("a", "b")), [Line("", [7.8, 10.1], [0.0, 1.0])])
    assert re.findall(r">([\d.]+)</text>", svg) == ["8", "8.5", "9", "9.5", "10"]


def test_counts_have_whole_ticks_and_shares_and_amounts_their_units() -> None:
    lines = [Line("", [0, 1], [0, 1])]
    counts = chart("t", Axis("", limits=(0, 1), ticks=("a", "b")), Axis("", kind="count"), lines)
    assert re.findall(r">([\d.,]+)</text>", counts) == ["0", "1"]
    svg = chart("t", Axis("", kind="share"), Axis("", kind="USD"), [Line("", [0, 1], [0, 4_000])])
    assert ">20 %</text>" in svg
    assert ">$1,000</text>" in svg


def test_the_key_stands_where_no_line_is_without_measuring_every_point() -> None:
    """Matplotlib's own search took 2 s for these on an idle machine, and warned."""
    x = np.linspace(0, 1, 200_000)
    for falling, beside in ((x, "left"), (1 - x, "right")):
        svg = chart("t", Axis("x"), Axis("y"), [Line("a model", x, falling), Line("limit", [0, 1], [0.02] * 2)])
        at = re.search(r'x="([\d.]+)" y="([\d.]+)"[^<>]*>a model<', svg)
        assert at is not None
        across, down = map(float, at.groups())
        assert (across < 150, down < 60) == (beside == "left", True)
    days = [1, 15, 30]
    svg = chart("t", Axis("x"), Axis("y"), [Line("limit", days, [0.1] * 3), Line("", days, [0.006, 0.012, 0.005])])
    at = re.search(r'y="([\d.]+)"[^<>]*>limit<', svg)
    assert at is not None
    assert 60 < float(at[1]) < 160  # between both, not on the upper one


def test_an_axis_of_money_has_room_for_its_name_beside_its_amounts() -> None:
    svg = chart("t", Axis("x"), Axis("cost a day", log=True, kind="EUR"), [Line("", [0, 1], [100, 1e5])])
    name, amount = (re.search(rf'x="([\d.-]+)"[^<>]*>{words}<', svg) for words in ("cost a day", "€100,000"))
    assert name is not None
    assert amount is not None
    assert 8 < float(name[1]) < float(amount[1]) - 8 * 4


def test_a_bars_value_stands_at_its_end_above_the_limits_stroke() -> None:
    bar = Line("", [0, 0.068], [0, 0], width=7, text="0.068")
    svg = chart(
        "PSI", Axis("PSI", limits=(0, 0.12)), Axis("", ticks=("V14",)), [Line("", [0.1] * 2, [-1, 1], "limit"), bar]
    )
    assert svg.count(">0.068</text>") == 1
    assert svg.index("var(--limit)") < svg.index("var(--panel)") < svg.index(">0.068</text>")


def test_two_models_have_the_same_colours_wherever_they_meet(tmp_path: Path) -> None:
    label = (np.arange(200) % 10 == 0).astype(np.int8)
    score = np.where(label == 1, 0.2 + np.arange(200) / 400, np.arange(200) / 1000)
    rows = ScoredRows(np.arange(200.0) * 600, label, np.ones(200), np.full(200, 30.0), score, score, score)
    drawn = model_charts(rows, [Side("new", score, score, 0.3), Side("old", 1 - score, score, 0.4)], 5.0, "EUR")
    colours = {
        (line.name.partition(":")[0], line.colour)
        for each in drawn[:3]
        for line in each.lines
        if line.name[:3] in ("new", "old")
    }
    assert colours == {("new", "candidate"), ("old", "champion")}
    assert {line.colour for each in drawn[3:] for line in each.lines} == {"fraud", "legitimate", "limit"}


def test_the_same_chart_twice_is_the_same_text() -> None:
    lines = [Line("a", [0, 1], [0, 1])]
    assert chart("t", Axis("x"), Axis("y"), lines) == chart("t", Axis("x"), Axis("y"), lines)


def test_a_models_charts_become_pictures_and_files(tmp_path: Path) -> None:
    moment = np.arange(200.0) * 600
    label = (np.arange(200) % 10 == 0).astype(np.int8)
    score = np.where(label == 1, 0.2 + np.arange(200) / 400, np.arange(200) / 1000)
    rows = ScoredRows(moment, label, np.ones(200), np.full(200, 30.0), score, score, score)
    sides = [Side("version 1", score, score, 0.3), Side("version 2", 1 - score, score, 2.0)]
    titles = [each.title for each in curves(rows, sides, review_cost=5.0)]
    assert titles == ["Precision and recall", "Cost", "Calibration", "Scores, version 1", "Scores, version 2"]
    ranked, cost, *_ = model_charts(rows, [Side("test", score, score, 0.3, 0.6)], review_cost=5.0)
    assert ranked.lines[0].name == "test: 1.000"
    assert [line.marker for line in ranked.lines] == ["", "o", "s"]
    assert [line.name for line in cost.lines] == ["test", "alert threshold", "decline threshold", "no alerts at all"]
    save_png(tmp_path / "one.png", [ranked])
    save_png(tmp_path / "two.png", [ranked, cost], "Policy f1, on validation")
    width, height = struct.unpack(">II", (tmp_path / "one.png").read_bytes()[16:24])
    assert 400 < height < width < 900
    assert struct.unpack(">I", (tmp_path / "two.png").read_bytes()[16:20])[0] > 1.7 * width
