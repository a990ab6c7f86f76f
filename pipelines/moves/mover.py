"""Decides which move comes next, and claims it; `pipelines.moves.finisher` carries it out."""

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from ml_project.errors import InvalidBundle, LostRace, Unavailable
from pipelines.moves.finisher import Finisher, NotPublished
from pipelines.moves.plan import Change, moved_outside, planned
from pipelines.moves.publication import checked_bundle, publish
from stores.history import History
from stores.moves import CHALLENGER, PRODUCTION, Entry, Kind, Move, Record
from stores.registry import ModelVersion, Registry
from stores.released import Verdict, gate_result, verdict
from stores.releases import Releases

OUTSIDE: Final = "outside the tool"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Standing:
    """How things stood when a mover looked; its move counts only if they still do.

    Attributes
    ----------
    finished : tuple of Entry
        Moves of others that were cut short, or made outside of the tool, and are finished now.
    """

    record: Record
    aliases: dict[str, int]
    finished: tuple[Entry, ...]


class Mover:
    """Moves aliases of one registered model.

    Parameters
    ----------
    who : str
        Name for the history.
    tool : str
        Version of this software, for the history.
    """

    def __init__(self, registry: Registry, history: History, releases: Releases, who: str, tool: str) -> None:
        self.registry = registry
        self.who = who
        self._history = history
        self._releases = releases
        self._tool = tool
        self._finisher = Finisher(registry, history, releases, who)

    def settle(self) -> Standing:
        """Finish what others left, write down what was moved outside of the tool, and say how things stand."""
        finished: list[Entry] = []
        unpublished: set[int] = set()
        while True:
            record = self._history.read()
            unfinished = [entry for entry in record.unfinished if entry.number not in unpublished]
            if unfinished:
                try:
                    finished.append(self._finisher.finish(unfinished[0]))
                except NotPublished as error:
                    # a rollback must not wait for the storage of releases
                    _log.warning("move %d stays unfinished: %s", unfinished[0].number, error)
                    unpublished.add(unfinished[0].number)
                continue
            aliases = self.registry.aliases()
            strange = moved_outside(record, aliases)
            if strange is None:
                break
            # whoever gets the number: the next turn finishes that claim
            self._history.claim(record.last + 1, self._outside(record, *strange))
        for alias in self.registry.twins():
            self.registry.move(alias, aliases[alias])
        if PRODUCTION in aliases and not unpublished:
            self._mend_release(aliases[PRODUCTION])
        return Standing(record, aliases, tuple(finished))

    def move(
        self,
        standing: Standing,
        kind: Kind,
        version: ModelVersion,
        why: str,
        gate: Verdict | None = None,
        granted: Entry | None = None,
    ) -> Entry:
        """Claim a move and carry it out.

        Parameters
        ----------
        standing : Standing
            What the decision to move was based on.
        gate : str, optional
            The gate's verdict; by default what the version's tags say.
        granted : Entry, optional
            The request that is granted by this move.

        Raises
        ------
        LostRace
            When somebody else has moved one of the aliases since.
        InvalidBundle
            When the version's files are not what its digest says; nothing is claimed then.
        NotPublished
            When all is done but for the release; the next mover goes on.
        """
        if kind is not Kind.CHALLENGE:
            checked_bundle(self.registry, version)
        change = planned(kind, standing.record, standing.aliases, version.version)
        alias = CHALLENGER if kind is Kind.CHALLENGE else PRODUCTION
        move = self._drafted(kind, alias, version, why, standing.aliases, change)
        update: dict[str, object] = {"gate": gate} if gate else {}
        if granted is not None:
            update = {"gate": granted.move.gate, "request": granted.number, "asked_by": granted.move.who}
        entry = self._finisher.finish(self._claim(standing.record.last, move.model_copy(update=update)))
        if entry.undone and entry.ending is not None:
            raise LostRace(f"Move {entry.number} was undone: {entry.ending.note}", "Look, then run it again.")
        return entry

    def publish(self, version: ModelVersion) -> None:
        """Publish what is Production already; nothing happens where that was done."""
        publish(self.registry, self._releases, version)

    def _mend_release(self, number: int) -> None:
        try:
            self.publish(self.registry.version(number))
        except (InvalidBundle, Unavailable, OSError) as error:
            _log.warning("the release pointer does not follow Production to version %d: %s", number, error)

    def _claim(self, last: int, move: Move) -> Entry:
        number, touched = last + 1, {move.alias, *move.after}
        while not self._history.claim(number, move):
            for other in self._history.read().entries:
                if other.number > last and not other.undone and touched.intersection(other.move.after):
                    raise LostRace(
                        f"{other.move.who} was first: {other.move.alias} went from version {other.move.origin} to "
                        f"{other.move.to} meanwhile (move {other.number}, {other.move.kind}).",
                        "See `python -m pipelines history`, then decide again.",
                    )
            number += 1
        return Entry(number, move, None)

    def _outside(self, record: Record, alias: str, change: Change) -> Move:
        number = change[alias]
        version = None if number is None else self.registry.version(number)
        move = self._drafted(Kind.OUTSIDE, alias, version, f"noticed by {self.who}", record.aliases, change)
        return move.model_copy(update={"who": OUTSIDE})

    def _drafted(
        self,
        kind: Kind,
        alias: str,
        version: ModelVersion | None,
        why: str,
        aliases: dict[str, int],
        change: Change,
    ) -> Move:
        return Move(
            kind=kind,
            alias=alias,
            origin=aliases.get(alias),
            to=version.version if version else None,
            who=self.who,
            when=datetime.now(UTC).replace(microsecond=0),
            why=why,
            gate=verdict(gate_result(version.tags)) if version else "none",
            digest=version.digest if version else None,
            before={name: aliases.get(name) for name in change},
            after=change,
            tool=self._tool,
            token=uuid4().hex,
        )
