"""Aliases and their moves, as the history keeps them, and what follows from their order. Pure: no MLflow in here.

MLflow's own page writes aliases in lower case while its store compares them case-sensitively; `followed` says which
spelling counts.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

PRODUCTION: Final = "Production"
CHALLENGER: Final = "Challenger"
PREVIOUS: Final = "Previous"
ALIASES: Final = (PRODUCTION, PREVIOUS, CHALLENGER)

MOVED_TAG: Final = "fraud.moved."
"""Registered-model tag, followed by an alias: the version that the last move by this software gave it."""


def spellings(aliases: Mapping[str, int], alias: str) -> dict[str, int]:
    """The aliases that are this one but for their case."""
    return {name: version for name, version in aliases.items() if name.lower() == alias.lower()}


def followed(aliases: Mapping[str, int], tags: Mapping[str, str], alias: str) -> int | None:
    """The version that an alias names, without regard to case; None where nothing does.

    Of several spellings that disagree, the one that differs from this software's last move is a newer move in MLflow's
    page; where that leaves a choice, the higher version.

    Parameters
    ----------
    aliases : mapping
        The registered model's aliases as MLflow holds them, and their versions.
    tags : mapping
        The registered model's tags.
    """
    versions = set(spellings(aliases, alias).values())
    ours = {value for name, value in tags.items() if name.lower() == (MOVED_TAG + alias).lower()}
    return max({version for version in versions if str(version) not in ours} or versions, default=None)


CLAIM: Final = "move-"
ENDING: Final = "done-"


Verdict = Literal["passed", "forced", "refused", "none"]
"""What the gate said of a version: forced is a failure that a person let pass, none that no gate ran."""


class Kind(StrEnum):
    """Why an alias moves."""

    PROMOTE = "promote"
    POLICY = "policy"
    ROLLBACK = "rollback"
    CHALLENGE = "challenge"
    REQUEST = "request"
    OUTSIDE = "outside"


class Move(BaseModel):
    """What a mover writes down before it touches anything.

    Attributes
    ----------
    alias, origin, to
        The alias that the move is about, the version that it named and the one that it shall name. ``origin`` is
        ``from`` in JSON.
    gate
        ``passed``, ``forced``, ``refused`` or ``none``.
    digest
        SHA-256 of the bundle of version ``to``.
    before, after
        Every alias that the move changes, with its version before and after; empty where nothing moves (a request).
    request, asked_by
        For a move that a second person approved: the number of the request, and who made it.
    signature
        What the promotion says of version ``to``, signed; see `stores.attestation`. It is made with the claim: whoever
        finishes the move of a promoter that was cut short needs no key, and cannot be made to sign another's.
    token
        Unique per claim: MLflow takes an equal value twice, so that two equal claims would both succeed.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    kind: Kind
    alias: str
    origin: int | None = Field(validation_alias="from", serialization_alias="from")
    to: int | None
    who: str
    when: AwareDatetime
    why: str
    gate: str
    digest: str | None = None
    before: dict[str, int | None] = {}
    after: dict[str, int | None] = {}
    request: int | None = None
    asked_by: str | None = None
    signature: str | None = None
    tool: str
    token: str

    def to_json(self) -> str:
        """One line that reads well in MLflow's page."""
        fields = self.model_dump(mode="json", by_alias=True)
        optional = ("digest", "request", "asked_by", "signature")
        return json.dumps({name: v for name, v in fields.items() if v is not None or name not in optional})

    def words(self, version: int) -> str:
        """What it means for a version, as Markdown; empty where it is not about it."""
        who = f"{self.who}, asked by {self.asked_by}" if self.asked_by else self.who
        if self.to == version and self.kind is Kind.REQUEST:
            return f"{who} asked for its promotion: {self.why}"
        if self.to == version:
            instead = f" instead of version {self.origin}" if self.origin else ""
            return f"**{self.alias}**{instead}, by {who} ({self.kind}, gate {self.gate}): {self.why}"
        if self.origin == version and self.alias == PRODUCTION:
            return f"replaced by version {self.to}, by {who} ({self.kind}): {self.why}"
        return ""


class Ending(BaseModel):
    """How a move ended; the first ending written stands."""

    model_config = ConfigDict(frozen=True)

    outcome: Literal["done", "undone"]
    who: str
    when: AwareDatetime
    note: str = ""


@dataclass(frozen=True)
class Entry:
    """A claimed move, and its ending once there is one."""

    number: int
    move: Move
    ending: Ending | None

    @property
    def undone(self) -> bool:
        """Whether it was taken back."""
        return self.ending is not None and self.ending.outcome == "undone"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        ending = self.ending.model_dump(mode="json") if self.ending else None
        return {"number": self.number, **json.loads(self.move.to_json()), "ending": ending}


@dataclass(frozen=True)
class Record:
    """The whole history.

    Attributes
    ----------
    entries : tuple of Entry
        In the order of their numbers.
    problems : tuple of str
        What cannot be read, or contradicts itself.
    last : int
        The highest number that is taken; 0 for none.
    """

    entries: tuple[Entry, ...] = ()
    problems: tuple[str, ...] = ()
    last: int = 0

    @classmethod
    def read(cls, params: Mapping[str, str]) -> "Record":
        """From the parameters of the history run."""
        claims, endings = (_numbered(params, prefix) for prefix in (CLAIM, ENDING))
        last = max(claims, default=0)
        problems = [f"move {number} is missing" for number in range(1, last) if number not in claims]
        problems += [f"move {number} has an ending and no claim" for number in sorted(endings.keys() - claims.keys())]
        entries: list[Entry] = []
        for number, (key, value) in sorted(claims.items()):
            try:
                ending = Ending.model_validate_json(endings[number][1]) if number in endings else None
                entries.append(Entry(number, Move.model_validate_json(value), ending))
            except ValidationError as error:
                problems.append(f"{key} or its ending cannot be read: {error.errors()[0]['msg']}")
        return cls(tuple(entries), tuple(problems + _contradictions(entries)), last)

    @property
    def unfinished(self) -> tuple[Entry, ...]:
        """Claims whose mover was cut short, or is still at work."""
        return tuple(entry for entry in self.entries if entry.ending is None)

    @cached_property
    def aliases(self) -> dict[str, int]:
        """What the aliases name if all moves stand as written; those that are set."""
        return _aliases_after(self.entries)

    @cached_property
    def lineage(self) -> tuple[int, ...]:
        """The versions that a chain of rollbacks would bring back, the present Production last."""
        chain: list[int] = []
        for entry in self.entries:
            version = entry.move.after.get(PRODUCTION)
            if entry.undone or version is None:
                continue
            if entry.move.kind is Kind.ROLLBACK:
                chain = list(rolled_back(tuple(chain), version))
            else:
                chain.append(version)
        return tuple(chain)

    @property
    def champions(self) -> frozenset[int]:
        """Every version that was Production at some time."""
        versions = (entry.move.after.get(PRODUCTION) for entry in self.entries if not entry.undone)
        return frozenset(version for version in versions if version is not None)

    def words(self, version: int) -> str:
        """What became of a version, the newest first, as Markdown."""
        return "\n".join(
            f"- {entry.move.when:%Y-%m-%d %H:%M} UTC: {words}"
            for entry in reversed(self.entries)
            if not entry.undone and (words := entry.move.words(version))
        )

    def later(self, number: int, alias: str) -> bool:
        """Whether a later move is about this alias too."""
        return any(entry.number > number and alias in entry.move.after and not entry.undone for entry in self.entries)

    def waiting(self, version: int) -> Entry | None:
        """The request for a version that still waits: none since moved Production."""
        asked = [e for e in self.entries if e.move.kind is Kind.REQUEST and e.move.to == version and not e.undone]
        return asked[-1] if asked and not self.later(asked[-1].number, PRODUCTION) else None


def rolled_back(lineage: tuple[int, ...], version: int) -> tuple[int, ...]:
    """The lineage once a version is put back: it ends there, so that the next rollback goes one further."""
    if version not in lineage:
        return (*lineage, version)
    return lineage[: len(lineage) - lineage[::-1].index(version)]


def _numbered(params: Mapping[str, str], prefix: str) -> dict[int, tuple[str, str]]:
    return {
        int(key.removeprefix(prefix)): (key, value)
        for key, value in params.items()
        if key.startswith(prefix) and key.removeprefix(prefix).isdecimal()
    }


def _aliases_after(entries: tuple[Entry, ...]) -> dict[str, int]:
    aliases: dict[str, int | None] = {}
    for entry in entries:
        if not entry.undone:
            aliases |= entry.move.after
    return {alias: version for alias, version in aliases.items() if version is not None}


def _contradictions(entries: list[Entry]) -> list[str]:
    """Moves that began elsewhere than the moves before them ended."""
    found = []
    for index, entry in enumerate(entries):
        known = _aliases_after(tuple(entries[:index]))
        for alias, version in entry.move.before.items():
            if not entry.undone and known.get(alias) != version:
                found.append(f"move {entry.number} took {alias} from {version}, earlier moves say {known.get(alias)}")
    return found
