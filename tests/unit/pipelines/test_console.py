"""Tables lose nothing: not at 80 columns, not at 40, and not in a pipe."""

import io
import re

import pytest
from rich.console import Console
from rich.text import Text

from pipelines.console import Table

WHEN = "2026-01-02 12:00:00"
WHY = "it found [two] more of the frauds that cost most, and sends 30 alerts a day less to the people who review them"


def history() -> Table:
    columns = ("move", "when (UTC)", "who", "what", "gate", "ended", "why")
    table = Table(columns, folding=("who", "ended", "why"), numbers=("move",), title="Moves", caption="in here")
    table.add_row("9", WHEN, "bob (asked by anna)", "promote Production 3 → 4", "passed", "done", WHY)
    table.add_section()
    table.add_row("10", WHEN, "bob", "rollback Production 4 → 3", "", Text("unfinished", "yellow"), "w" * 90)
    return table


def printed(width: int, *, terminal: bool) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width, force_terminal=terminal, color_system=None, soft_wrap=True).print(history())
    return re.sub(r"\x1b\[[\d;]*m", "", file.getvalue()).splitlines()


@pytest.mark.parametrize("width", [60, 80, 132, 400])
def test_on_a_terminal_nothing_is_lost_and_nothing_is_wider(width: int) -> None:
    lines = printed(width, terminal=True)
    assert max(map(len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    assert "…" not in text
    assert text.count(WHEN) == 2
    assert all(word in text for word in WHY.split())
    assert "".join(lines).count("w") >= 90
    assert "promote Production 3 → 4" in text


def test_cells_stand_in_columns_where_there_is_room_and_below_their_row_where_there_is_not() -> None:
    row = next(line for line in printed(400, terminal=True) if WHY in line)
    assert row.index(WHEN) < row.index("bob") < row.index(WHY)
    narrow = printed(60, terminal=True)
    place = next(number for number, line in enumerate(narrow) if WHEN in line)
    assert narrow[place].split() == ["9", *WHEN.split(), "promote", "Production", "3", "→", "4", "passed"]
    assert narrow[place + 1].strip() == "who: bob (asked by anna)"


def test_in_a_pipe_each_row_is_one_line_with_its_cells_apart() -> None:
    title, heads, first, second, caption = printed(80, terminal=False)
    assert (title, caption) == ("Moves", "in here")
    cells = [re.split(r" {2,}", line.strip()) for line in (heads, first)]
    assert dict(zip(*cells, strict=True)) == {
        "move": "9",
        "when (UTC)": WHEN,
        "who": "bob (asked by anna)",
        "what": "promote Production 3 → 4",
        "gate": "passed",
        "ended": "done",
        "why": WHY,
    }
    assert second.startswith("  10  ")
    assert second.endswith("w" * 90)
