"""The history of moves for a terminal or as JSON; what was moved outside of the tool shows before it is recorded."""

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from pipelines.promotion.mover import OUTSIDE, moved_outside
from stores.error_text import masked
from stores.moves import Entry, Record


def history_dict(record: Record, aliases: Mapping[str, int], registry: str) -> dict[str, Any]:
    """For JSON; ``registry`` is the address that was asked."""
    return {
        "registry": masked(registry),
        "moves": [entry.to_dict() for entry in record.entries],
        "unrecorded": _unrecorded(record, aliases),
        "problems": list(record.problems),
    }


def history_table(record: Record, aliases: Mapping[str, int], registry: str) -> Table:
    """For a terminal, the newest last; ``registry`` is the address that was asked."""
    heads = ("move", "when (UTC)", "who", "what", "alias", "version", "gate", "why", "ended")
    table = Table(*heads, caption=escape(f"in {masked(registry)}"), caption_justify="left")
    for entry in record.entries:
        move = entry.move
        who = f"{move.who} (asked by {move.asked_by})" if move.asked_by else move.who
        when = f"{move.when:%Y-%m-%d %H:%M:%S}"
        row = (str(entry.number), when, who, move.kind, move.alias, _step(move.origin, move.to), move.gate, move.why)
        table.add_row(*row, _ending(entry))
    if unrecorded := _unrecorded(record, aliases):
        versions = _step(unrecorded["from"], unrecorded["to"])
        table.add_row("", "", OUTSIDE, "outside", unrecorded["alias"], versions, "", "", "not recorded yet")
    for problem in record.problems:
        table.add_row("[red]![/red]", "", "", "", "", "", "", problem, "")
    return table


def _unrecorded(record: Record, aliases: Mapping[str, int]) -> dict[str, Any] | None:
    # while a move is under way its aliases are half moved, which is no move from outside
    found = None if record.unfinished else moved_outside(record, aliases)
    if found is None:
        return None
    alias, change = found
    return {"alias": alias, "from": record.aliases.get(alias), "to": change[alias]}


def _step(origin: int | None, to: int | None) -> str:
    return f"{origin or '-'} → {to or '-'}"


def _ending(entry: Entry) -> str:
    if entry.ending is None:
        return "[yellow]unfinished[/yellow]"
    return f"{entry.ending.outcome}{f': {entry.ending.note}' if entry.ending.note else ''}"
