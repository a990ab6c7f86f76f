"""Decides what a move does to the aliases, and claims it in the history; `pipelines.promotion.finisher` carries it out.

`planned` and `moved_outside` are pure: registry and history as values in, aliases before and after out.
"""

import getpass
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT

import ml_project
from ml_project.errors import InvalidBundle, InvalidInput, LostRace, Refused, Unavailable
from pipelines.promotion.finisher import Finisher, NotPublished, publish
from pipelines.settings import PipelineSettings
from pipelines.tracking import create_database
from stores.attestation import SigningKey, Statement, TrustedKeys
from stores.history import History
from stores.moves import (
    ALIASES,
    CHALLENGER,
    PREVIOUS,
    PRODUCTION,
    Entry,
    Kind,
    Move,
    Record,
    Verdict,
    rolled_back,
)
from stores.registry import ModelVersion, Registry
from stores.released import CLEARED, SIGNATURE_TAG, gate_result, require_signed, verdict
from stores.releases import Releases, open_releases

OUTSIDE: Final = "outside the tool"
SIMULATED: Final = "simulated"
_log = logging.getLogger(__name__)
Change = dict[str, int | None]


@dataclass(frozen=True)
class Standing:
    """The state that a mover saw; its move is valid only while that state lasts.

    Attributes
    ----------
    finished : tuple of Entry
        Interrupted moves, and moves made outside the tool, that were finished now.
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
    seal : Seal
        What it signs with.
    """

    def __init__(
        self,
        registry: Registry,
        history: History,
        releases: Releases,
        who: str,
        tool: str,
        seal: "Seal | None" = None,
    ) -> None:
        self.registry = registry
        self.who = who
        self.seal = seal or Seal()
        self._history = history
        self._releases = releases
        self._tool = tool
        self._finisher = Finisher(registry, history, releases, who)

    def settle(self) -> Standing:
        """Finish interrupted moves, record moves made outside the tool, and return the current state."""
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
            # whichever mover gets the number, the next turn finishes its claim
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
            When another mover has moved one of the aliases since.
        InvalidBundle
            When the version's files do not match its digest; nothing is claimed then.
        NotPublished
            When all is done but for the release; the next mover completes it.
        """
        if kind is not Kind.CHALLENGE:
            self.registry.bundle(version)
        change = planned(kind, standing.record, standing.aliases, version.version)
        alias = CHALLENGER if kind is Kind.CHALLENGE else PRODUCTION
        move = self._draft(kind, alias, version, why, standing.aliases, change)
        update: dict[str, object] = {"gate": gate} if gate else {}
        if granted is not None:
            update = {"gate": granted.move.gate, "request": granted.number, "asked_by": granted.move.who}
        move = move.model_copy(update=update)
        if kind is not Kind.REQUEST:
            signature = self.seal.of(self.registry.model_name, move, _verdict_of(move, standing.record))
            move = move.model_copy(update={"signature": signature})
        entry = self._finisher.finish(self._claim(standing.record.last, move))
        if entry.undone and entry.ending is not None:
            raise LostRace(f"Move {entry.number} was undone: {entry.ending.note}", "Check why, then run it again.")
        return entry

    def publish(self, version: ModelVersion) -> None:
        """Publish what is Production already; nothing happens where that was done."""
        publish(self.registry, self._releases, version)

    def sign(self, version: ModelVersion) -> ModelVersion:
        """Sign what is Production already, such as before there was a key; nothing happens where that was done."""
        if self.seal.key is None or self.seal.is_on(self.registry.model_name, version):
            return version
        move = self._draft(Kind.PROMOTE, PRODUCTION, version, "", {}, {})
        signature = self.seal.of(self.registry.model_name, move, move.gate)
        if signature is not None:
            self.registry.tag(version.version, SIGNATURE_TAG, signature)
        return self.registry.version(version.version)

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
        move = self._draft(Kind.OUTSIDE, alias, version, f"noticed by {self.who}", record.aliases, change)
        return move.model_copy(update={"who": OUTSIDE})

    def _draft(
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


@dataclass(frozen=True)
class Seal:
    """What a mover signs with: the promotion's key, and the keys that gateways are known to trust.

    Both may be missing: then nothing is signed.
    """

    key: SigningKey | None = None
    trust: TrustedKeys | None = None

    def require(self) -> None:
        """Raise `InvalidInput` where gateways would refuse what this mover lets pass."""
        if self.trust is None:
            return
        if self.key is None:
            raise InvalidInput(
                "FRAUD_TRUSTED_KEYS is set, and FRAUD_SIGNING_KEY is not: gateways would refuse the version.",
                "Give it the promotion's key.",
            )
        if self.key.public not in self.trust:
            raise InvalidInput(
                "FRAUD_SIGNING_KEY is the secret of none of FRAUD_TRUSTED_KEYS: gateways would refuse the version.",
                "Compare with `python -m pipelines access key`.",
            )

    def of(self, model: str, move: Move, gate: str) -> str | None:
        """A move's version, signed; None without a key, or where there is nothing that a digest could vouch for.

        Raises
        ------
        InvalidInput
            As `require` does.
        Refused
            When the version is to answer, and no gate let it pass.
        """
        self.require()
        if self.key is None or move.to is None or move.digest is None:
            return None
        if move.alias == PRODUCTION and gate not in CLEARED:
            raise Refused(
                f"No gate has passed version {move.to} ({gate}): gateways would refuse it.",
                f"Run it through the gate: python -m pipelines promote --version {move.to}",
            )
        said = {"model": model, "version": move.to, "digest": move.digest, "gate": gate}
        people = {"approved_by": move.who, "asked_by": move.asked_by, "when": move.when}
        return self.key.sign(Statement.model_validate({**said, **people}))

    def is_on(self, model: str, version: ModelVersion) -> bool:
        """Whether a version bears a signature by this key that lets it answer."""
        if self.key is None or version.digest is None:
            return False
        try:
            trust, signature = TrustedKeys([self.key.public]), version.tags.get(SIGNATURE_TAG)
            require_signed(trust, model, version.version, version.digest, signature)
        except InvalidBundle:
            return False
        return True


def _verdict_of(move: Move, record: Record) -> str:
    """The gate result under which a version goes live: a rollback's is the one that it had gone live under."""
    if move.kind is Kind.ROLLBACK:
        for entry in reversed(record.entries):
            let_pass = entry.move.kind in (Kind.PROMOTE, Kind.POLICY) and not entry.undone
            if let_pass and entry.move.after.get(PRODUCTION) == move.to:
                return entry.move.gate
    return move.gate


def planned(kind: Kind, record: Record, aliases: Mapping[str, int], version: int) -> Change:
    """The aliases that a move gives new versions, in the order in which they are set.

    ``Previous`` is what a rollback would bring back: after a promotion the version before it, after a rollback the one
    that was Production before the version put back. A version that becomes Production is Challenger no longer.
    """
    if kind is Kind.REQUEST:
        return {}
    if kind is Kind.CHALLENGE:
        return {CHALLENGER: version}
    change: Change = {}
    if kind is Kind.ROLLBACK:
        lineage = rolled_back(record.lineage, version)
        change[PREVIOUS] = lineage[-2] if len(lineage) > 1 else None
    elif PRODUCTION in aliases:
        change[PREVIOUS] = aliases[PRODUCTION]
    change[PRODUCTION] = version
    if aliases.get(CHALLENGER) == version:
        change[CHALLENGER] = None
    return change


def moved_outside(record: Record, aliases: Mapping[str, int]) -> tuple[str, Change] | None:
    """The first alias that was moved outside the tool, and what that changed; None if there is none.

    Moving Production in MLflow's page leaves the other aliases as they were: they follow here.
    """
    strange = [alias for alias in ALIASES if aliases.get(alias) != record.aliases.get(alias)]
    if not strange:
        return None
    alias = strange[0]
    version = aliases.get(alias)
    if alias != PRODUCTION or version is None:
        return alias, {alias: version}
    change = planned(Kind.OUTSIDE, record, record.aliases, version)
    return alias, {name: number for name, number in change.items() if name == PRODUCTION or name not in strange}


def simulated_after_real(candidate: str, champion: str) -> bool:
    """Whether a model trained on simulated data would replace one trained on real data, by their ``data.source``.

    A champion of unknown origin counts as real: the safe side.
    """
    return candidate == SIMULATED and champion != SIMULATED


@dataclass(frozen=True)
class Stores:
    """Where moves are made and kept."""

    registry: Registry
    history: History
    releases: Releases


def open_stores(settings: PipelineSettings) -> Stores:
    """Registry, history and releases of the settings."""
    if not settings.mlflow_server:
        create_database(settings.mlflow_database)
    uri, model = settings.mlflow_uri, settings.model_name
    return Stores(Registry(uri, model), History(uri, model), open_releases(settings.releases, settings.s3_endpoint_url))


def open_mover(settings: PipelineSettings) -> Mover:
    """A mover on these stores."""
    stores = open_stores(settings)
    key = None if settings.signing_key is None else SigningKey(settings.signing_key.get_secret_value())
    who, tool, seal = user_name(settings), tool_version(), Seal(key, settings.trust)
    return Mover(stores.registry, stores.history, stores.releases, who, tool, seal)


def user_name(settings: PipelineSettings) -> str:
    """The name for the history.

    Raises
    ------
    InvalidInput
        When neither the setting nor the operating system knows a name.
    """
    if settings.user:
        return settings.user
    try:
        return getpass.getuser()
    except (KeyError, OSError) as error:  # a container whose user has no name
        raise InvalidInput("The operating system has no name for this user.", "Set FRAUD_USER.") from error


def tool_version() -> str:
    """Version of this software and, in a git checkout, its commit."""
    commit = resolve_tags().get(MLFLOW_GIT_COMMIT, "")
    return f"{ml_project.__version__}+{commit[:8]}" if commit else ml_project.__version__
