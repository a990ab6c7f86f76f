"""Carries out claimed moves: aliases, tags, release, done.

If a mover is killed between any two of these, the next one finds the claim and finishes it. One rule says how: **a
claim is carried out, unless its alias names a third version meanwhile or its version is no longer what was claimed;
then what it had set is put back.** Every part can be done twice without harm, so that a mover that was only slow does
none either.

`publish` writes a version's bundle, its model card and its release pointer.
"""

from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Literal

from ml_project.errors import InvalidBundle, InvalidInput, Unavailable
from stores.history import History
from stores.moves import PRODUCTION, Ending, Entry, Kind, Record
from stores.registry import ModelVersion, Registry
from stores.released import FORCED_TAG, SIGNATURE_TAG, gate_result
from stores.releases import Release, Releases

HISTORY_TAG: Final = "fraud.history"
"""Registered-model tag: the history run's id, for readers of MLflow's page."""


class NotPublished(Unavailable):
    """The aliases are moved; what is missing is the release."""


class Finisher:
    """Carries out claims in the name of ``who``."""

    def __init__(self, registry: Registry, history: History, releases: Releases, who: str) -> None:
        self._registry = registry
        self._history = history
        self._releases = releases
        self._who = who

    def finish(self, entry: Entry) -> Entry:
        """Carry out a claim, new or interrupted; returns the entry with its ending.

        Raises
        ------
        NotPublished
            When all is done but for the release.
        """
        record = self._history.read()
        obstacle = self._obstacle(entry, record)
        if obstacle:
            return self._undo(entry, record, obstacle)
        self._sign(entry, record)  # before the alias moves: gateways look at once
        for alias, version in entry.move.after.items():
            if not record.later(entry.number, alias):
                self._registry.move(alias, version)
        self._tag(entry)
        self._describe(entry, record)
        # later moves may have been made while this mover was suspended
        record = self._history.read()
        self._give_way(entry, record)
        self._sign(entry, record)
        note = ""
        try:
            self._publish(entry, record)
        except InvalidBundle as error:
            if entry.move.kind is not Kind.OUTSIDE:
                return self._undo(entry, record, str(error))
            note = f"not published: {error}"
        return self._end(entry, "done", note)

    def _obstacle(self, entry: Entry, record: Record) -> str:
        """Why a claim cannot be carried out; empty where it can."""
        move = entry.move
        if not move.after or record.later(entry.number, move.alias):
            return ""
        named = self._registry.aliases().get(move.alias)
        if named not in (move.origin, move.to):
            return f"{move.alias} now names version {named}."
        try:
            digest = move.digest if move.to is None else self._registry.version(move.to).digest
        except InvalidInput:
            return f"Version {move.to} was deleted."
        return "" if digest == move.digest else f"Version {move.to} has another digest than when it was claimed."

    def _undo(self, entry: Entry, record: Record, because: str) -> Entry:
        aliases = self._registry.aliases()
        for alias, version in entry.move.after.items():
            if aliases.get(alias) == version and not record.later(entry.number, alias):
                self._registry.move(alias, entry.move.before[alias])
        return self._end(entry, "undone", because)

    def _sign(self, entry: Entry, record: Record) -> None:
        """Give the version what was signed of it last."""
        version = entry.move.to
        newer = [each for each in record.entries if each.number > entry.number and not each.undone]
        signed = [each.move.signature for each in (entry, *newer) if each.move.to == version and each.move.signature]
        if version is not None and signed and signed[-1] is not None:
            self._registry.tag(version, SIGNATURE_TAG, signed[-1])

    def _tag(self, entry: Entry) -> None:
        """Record on the versions what became of them, for readers of MLflow's page."""
        self._registry.tag_model(HISTORY_TAG, self._history.run_id)
        move, version = entry.move, entry.move.after.get(PRODUCTION)
        if version is None:
            return
        when = move.when.isoformat(timespec="seconds")
        for name, value in {"by": move.who, "at": when, "why": move.why, "move": str(entry.number)}.items():
            self._registry.tag(version, f"promoted.{name}", value)
            if move.kind is Kind.ROLLBACK and move.origin is not None:
                self._registry.tag(move.origin, f"rolled_back.{name}", value)
        if move.gate == "forced" and move.kind in (Kind.PROMOTE, Kind.POLICY):
            self._registry.tag(version, FORCED_TAG, f"{move.asked_by or move.who}: {move.why}")

    def _describe(self, entry: Entry, record: Record) -> None:
        """Say in words what became of the versions, for readers of MLflow's page."""
        for version in filter(None, (entry.move.to, entry.move.origin)):
            with suppress(InvalidInput):  # deleted
                self._registry.describe(version, None, record.words(version))

    def _publish(self, entry: Entry, record: Record) -> None:
        version = entry.move.after.get(PRODUCTION)
        if version is None or record.later(entry.number, PRODUCTION):
            return
        try:
            publish(self._registry, self._releases, self._registry.version(version))
        except (Unavailable, OSError) as error:
            reason = str(error).rstrip(".")
            raise NotPublished(
                f"Production names version {version}, but its release could not be published: {reason}.",
                "Fix that; the next promote or rollback, or this command again, publishes it.",
            ) from error

    def _give_way(self, entry: Entry, record: Record) -> None:
        """Restore what later moves have set."""
        for alias in entry.move.after:
            if record.later(entry.number, alias):
                self._registry.move(alias, record.aliases.get(alias))

    def _end(self, entry: Entry, outcome: Literal["done", "undone"], note: str) -> Entry:
        ending = Ending(outcome=outcome, who=self._who, when=datetime.now(UTC).replace(microsecond=0), note=note[:1000])
        return Entry(entry.number, entry.move, self._history.end(entry.number, ending))


def publish(registry: Registry, releases: Releases, version: ModelVersion) -> None:
    """Publish a version's bundle and model card unless the pointer names all of it already."""
    gate, current = gate_result(version.tags), _pointer(releases)
    signature = version.tags.get(SIGNATURE_TAG)
    said = current and (current.version, current.digest, current.gate, current.signature)
    published = said == (version.version, version.digest, gate, signature)
    if published and current and current.card:
        return
    card = registry.card(version)
    if published and card is None:
        return
    bundle = registry.bundle(version)
    releases.publish(bundle, registry.model_name, version.version, gate, datetime.now(UTC), card, signature)


def _pointer(releases: Releases) -> Release | None:
    """The current release; None for a damaged pointer, which is then replaced."""
    try:
        return releases.current()
    except InvalidBundle:
        return None
