import re
from datetime import UTC, datetime

from rich.console import Console

from pipelines.promotion.verify import history_dict, history_table
from stores.moves import Ending, Entry, Kind, Move, Record

WHERE = "http://me:sesame@mlflow:5000"
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
PROMOTION = Move(
    kind=Kind.PROMOTE,
    alias="Production",
    origin=None,
    to=4,
    who="bob",
    asked_by="anna",
    when=NOON,
    why="better",
    gate="passed",
    before={"Production": None},
    after={"Production": 4},
    tool="1.0",
    token="t",
)
DONE = Record((Entry(1, PROMOTION, Ending(outcome="done", who="bob", when=NOON)),), (), 1)


def shown(record: Record, aliases: dict[str, int]) -> list[str]:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(history_table(record, aliases, WHERE), soft_wrap=True)
    return capture.get().splitlines()


def test_a_row_says_everything() -> None:
    (row,) = [line for line in shown(DONE, {"Production": 4}) if "better" in line]
    cells = re.split(" {2,}", row.strip())
    assert cells == [
        "1",
        "2026-01-02 12:00:00",
        "bob (asked by anna)",
        "promote Production - → 4",
        "passed",
        "done",
        "better",
    ]


def test_without_moves_it_says_so_in_place_of_a_header_alone() -> None:
    first, where = shown(Record((), (), 0), {})
    assert first.startswith("No moves yet")
    assert where == "in http://***@mlflow:5000"


def test_a_move_outside_the_tool_shows_before_it_is_recorded() -> None:
    assert "not recorded yet" in shown(DONE, {"Production": 5})[-2]
    assert history_dict(DONE, {"Production": 5}, WHERE)["unrecorded"] == {"alias": "Production", "from": 4, "to": 5}
    assert history_dict(DONE, {"Production": 4}, WHERE)["unrecorded"] is None


def test_while_a_move_is_under_way_nobody_is_suspected() -> None:
    under_way = Record((Entry(1, PROMOTION, None),), (), 1)
    assert history_dict(under_way, {}, WHERE)["unrecorded"] is None
    assert any("unfinished" in line for line in shown(under_way, {}))


def test_it_says_where_it_looked_without_the_password() -> None:
    assert shown(DONE, {"Production": 4})[-1].strip() == "in http://***@mlflow:5000"
    assert history_dict(DONE, {"Production": 4}, WHERE)["registry"] == "http://***@mlflow:5000"
