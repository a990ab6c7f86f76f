"""What follows from the order of moves, without MLflow."""

import json
from datetime import UTC, datetime

import pytest

from stores.moves import Ending, Entry, Kind, Move, Record, followed, rolled_back

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def move(kind: Kind, origin: int | None, to: int | None, alias: str = "Production", **others) -> Move:
    effect = {} if kind is Kind.REQUEST else {alias: to}
    fields = {"who": "anna", "why": "better", "gate": "passed", "tool": "1.0", "token": "t", **others}
    before = dict.fromkeys(effect, origin)
    return Move(kind=kind, alias=alias, origin=origin, to=to, when=NOON, before=before, after=effect, **fields)


def ending(outcome: str = "done") -> Ending:
    return Ending(outcome=outcome, who="anna", when=NOON)


def params(*moves: Move | tuple[Move, Ending | None]) -> dict[str, str]:
    found = {}
    for number, entry in enumerate(moves, start=1):
        claimed, end = entry if isinstance(entry, tuple) else (entry, ending())
        found[f"move-{number:04d}"] = claimed.to_json()
        if end is not None:
            found[f"done-{number:04d}"] = end.model_dump_json()
    return found


def test_a_move_reads_well_and_comes_back():
    written = move(Kind.PROMOTE, 3, 4).to_json()
    assert json.loads(written) == {
        "kind": "promote",
        "alias": "Production",
        "from": 3,
        "to": 4,
        "who": "anna",
        "when": "2026-01-02T12:00:00Z",
        "why": "better",
        "gate": "passed",
        "before": {"Production": 3},
        "after": {"Production": 4},
        "tool": "1.0",
        "token": "t",
    }
    assert Move.model_validate_json(written) == move(Kind.PROMOTE, 3, 4)


def test_nothing_was_ever_moved():
    record = Record.read({"other": "parameter"})
    assert (record.entries, record.problems, record.last, record.aliases) == ((), (), 0, {})


def test_aliases_are_what_the_moves_that_stand_say():
    taken_back = (move(Kind.PROMOTE, 2, 3), ending("undone"))
    challenged = move(Kind.CHALLENGE, None, 3, alias="Challenger")
    record = Record.read(params(move(Kind.PROMOTE, None, 2), taken_back, challenged))
    assert record.aliases == {"Production": 2, "Challenger": 3}
    assert record.champions == {2}
    assert record.last == 3
    assert record.problems == ()


def test_numbers_beyond_four_digits_are_in_order():
    record = Record.read({f"move-{n:04d}": move(Kind.CHALLENGE, n, n + 1).to_json() for n in (10_000, 9_999, 2)})
    assert [entry.number for entry in record.entries] == [2, 9_999, 10_000]


def test_a_claim_without_its_done_is_unfinished():
    record = Record.read(params(move(Kind.PROMOTE, None, 1), (move(Kind.PROMOTE, 1, 2), None)))
    assert [entry.number for entry in record.unfinished] == [2]


def test_gaps_and_contradictions_are_told():
    found = params(move(Kind.PROMOTE, None, 1), move(Kind.PROMOTE, 1, 2), move(Kind.PROMOTE, 1, 3))
    del found["move-0002"]
    found |= {"move-0004": "{}", "done-0009": ending().model_dump_json()}
    problems = Record.read(found).problems
    assert problems == (
        "move 2 is missing",
        "move 2 has an ending and no claim",
        "move 9 has an ending and no claim",
        "move-0004 or its ending cannot be read: Field required",
    )
    assert Record.read(params(move(Kind.PROMOTE, None, 1), move(Kind.PROMOTE, 2, 3))).problems == (
        "move 2 took Production from 2, earlier moves say 1",
    )


def test_rollbacks_in_a_row_go_ever_further_back():
    moves = [move(Kind.PROMOTE, None, 1), move(Kind.PROMOTE, 1, 2), move(Kind.PROMOTE, 2, 3)]
    assert Record.read(params(*moves)).lineage == (1, 2, 3)
    moves.append(move(Kind.ROLLBACK, 3, 2))
    assert Record.read(params(*moves)).lineage == (1, 2)
    moves.append(move(Kind.PROMOTE, 2, 4))
    assert Record.read(params(*moves)).lineage == (1, 2, 4)
    moves.append(move(Kind.OUTSIDE, 4, 1))
    assert Record.read(params(*moves)).lineage == (1, 2, 4, 1)


def test_a_rollback_to_a_version_that_was_rolled_back_goes_forward():
    assert rolled_back((1, 2), 3) == (1, 2, 3)
    assert rolled_back((1, 2, 1, 3), 1) == (1, 2, 1)


def test_a_request_waits_until_production_moves():
    asked = [move(Kind.PROMOTE, None, 1), move(Kind.REQUEST, 1, 2)]
    record = Record.read(params(*asked))
    assert record.waiting(2) == Entry(2, asked[1], ending())
    assert record.waiting(1) is None
    challenged = move(Kind.CHALLENGE, None, 5, alias="Challenger")
    assert Record.read(params(*asked, challenged)).waiting(2) is not None
    assert Record.read(params(*asked, challenged, move(Kind.PROMOTE, 1, 3))).waiting(2) is None


@pytest.mark.parametrize(
    ("aliases", "tags", "version"),
    [
        ({}, {}, None),
        ({"Challenger": 1}, {}, None),
        ({"production": 4}, {}, 4),
        ({"Production": 3, "production": 4}, {"fraud.moved.Production": "3"}, 4),
        ({"Production": 4, "production": 3}, {"fraud.moved.Production": "4"}, 3),
        ({"Production": 4, "production": 3}, {"fraud.moved.production": "4"}, 3),
        ({"Production": 4, "production": 3, "PRODUCTION": 2}, {"fraud.moved.Production": "4"}, 3),
        ({"Production": 4, "production": 4}, {"fraud.moved.Production": "4"}, 4),
        ({"Production": 4, "production": 3}, {}, 4),
    ],
)
@pytest.mark.parametrize("alias", ["Production", "production", "pRODUCTION"])
def test_the_spelling_that_we_did_not_move_wins(aliases, tags, version, alias):
    assert followed(aliases, tags, alias) == version
