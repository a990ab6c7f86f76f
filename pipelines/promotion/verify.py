"""``history`` and ``verify``: what was moved, and whether files, aliases, history and release agree. Reads only."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from rich.text import Text

from ml_project.bundle import FILES
from ml_project.contract import Contract
from ml_project.errors import FraudError, InvalidInput
from pipelines.console import Cell, Table
from pipelines.promotion.finisher import HISTORY_TAG
from pipelines.promotion.mover import OUTSIDE, moved_outside, simulated_after_real
from stores.attestation import TrustedKeys
from stores.error_text import masked
from stores.history import History
from stores.moves import ALIASES, CHALLENGER, PRODUCTION, Entry, Record
from stores.registry import ModelVersion, Registry
from stores.released import SIGNATURE_TAG, cleared, gate_result, require_signed, verdict
from stores.releases import Releases

_SHORT = 12


@dataclass(frozen=True)
class Finding:
    """One row: what was checked, what was found, and whether it is as it should be."""

    check: str
    found: str
    ok: bool


@dataclass(frozen=True)
class Verification:
    """All rows; everything is well when every one is."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether every finding is as it should be."""
        return all(finding.ok for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"ok": self.ok, "findings": [asdict(finding) for finding in self.findings]}

    def to_table(self) -> Table:
        """For a terminal."""
        table = Table(("verdict", "check", "found"), folding=("check", "found"))
        for finding in sorted(self.findings, key=lambda each: each.ok):
            verdict = Text("ok", "green") if finding.ok else Text("failed", "red")
            table.add_row(verdict, finding.check, finding.found)
        return table


def verify(
    registry: Registry,
    history: History,
    releases: Releases,
    past: Callable[[Contract], tuple[int, int]] | None = None,
    trust: TrustedKeys | None = None,
) -> Verification:
    """Check every file of Production, Previous and Challenger, the aliases, the history and the release pointer.

    Parameters
    ----------
    past : callable, optional
        `known_past.differing_pasts` of the settings, for a contract with features from history.
    trust : TrustedKeys, optional
        Keys of which one must have signed what gateways load: Production, Challenger and the release.

    Raises
    ------
    Unavailable
        When the server cannot be asked; what cannot be read besides is a finding.
    """
    record = history.read()
    versions = {alias: registry.version(number) for alias, number in registry.aliases().items()}
    findings = [
        *(_files(registry, alias, version) for alias, version in versions.items()),
        *(_digest(record, alias, version) for alias, version in versions.items()),
        *(_alias(record, alias, versions.get(alias)) for alias in ALIASES),
        *_history(registry, history, record),
        _spellings(registry),
        *_signatures(registry.model_name, versions, releases, trust),
    ]
    if PRODUCTION in versions:
        production = versions[PRODUCTION]
        findings += [_gate(production), _origin(registry, record, production), *_release(releases, production)]
        findings += [] if past is None else _past(registry, production, past)
    return Verification(tuple(findings))


def _files(registry: Registry, alias: str, version: ModelVersion) -> Finding:
    check = f"files of {alias} (version {version.version})"
    try:
        bundle = registry.bundle(version)
    except FraudError as error:
        return Finding(check, str(error), False)
    return Finding(check, f"{len(FILES)} files hash to {bundle.digest[:_SHORT]}… as its tag says", True)


def _digest(record: Record, alias: str, version: ModelVersion) -> Finding:
    check = f"digest tag of {alias} (version {version.version})"
    claimed = [entry.move.digest for entry in record.entries if entry.move.to == version.version and not entry.undone]
    if not claimed:
        return Finding(check, "no recorded move names this version", False)
    same = set(claimed) == {version.digest}
    return Finding(
        check, "the same in every recorded move" if same else f"moves claimed {claimed}, now {version.digest}", same
    )


def _alias(record: Record, alias: str, version: ModelVersion | None) -> Finding:
    named, expected = version.version if version else None, record.aliases.get(alias)
    check = f"{alias} is where the history left it"
    if named == expected:
        return Finding(check, f"version {named}" if named else "not set", True)
    return Finding(check, f"version {named}; the history says {expected}: moved outside the tool since", False)


def _history(registry: Registry, history: History, record: Record) -> Iterator[Finding]:
    yield Finding(
        "history without gaps and contradictions",
        "; ".join(record.problems) or f"{len(record.entries)} {'move' if len(record.entries) == 1 else 'moves'}",
        not record.problems,
    )
    unfinished = ", ".join(f"move {entry.number} by {entry.move.who}" for entry in record.unfinished)
    yield Finding("no move is unfinished", unfinished or "none", not unfinished)
    noted = registry.model_tag(HISTORY_TAG)
    if record.last or noted:
        same = bool(record.last) and noted == history.run_id
        yield Finding("the history is the one that the model's tag names", f"run {noted}", same)


def _spellings(registry: Registry) -> Finding:
    twins = "; ".join(" and ".join(names) for names in registry.twins().values())
    return Finding("no alias in two spellings", twins or "none", not twins)


def _gate(version: ModelVersion) -> Finding:
    gate = gate_result(version.tags)
    words = {
        "passed": "passed",
        "forced": f"forced by {gate.get('forced')}; it had failed: {gate.get('failures')}",
        "refused": f"refused: {gate.get('failures')}",
        "none": "no gate ran",
    }
    return Finding(f"gate of Production (version {version.version})", words[verdict(gate)], cleared(gate))


def _origin(registry: Registry, record: Record, production: ModelVersion) -> Finding:
    """A move in MLflow's own page passes no check of a model's origin; this one finds it afterwards."""
    replaced = [
        number
        for number in sorted(record.champions - {production.version})
        if simulated_after_real(production.source, _source(registry, number))
    ]
    after = f" after version {replaced[-1]}, which was not" if replaced else ""
    source = production.source or "of unknown origin"
    return Finding(f"data of Production (version {production.version})", f"{source}{after}", not replaced)


def _source(registry: Registry, number: int) -> str:
    try:
        return registry.version(number).source
    except InvalidInput:  # deleted
        return ""


def _signatures(
    model: str, versions: Mapping[str, ModelVersion], releases: Releases, trust: TrustedKeys | None
) -> Iterator[Finding]:
    """What gateways that trust these keys would load."""
    if trust is None:
        return
    doors = {
        f"signature of {alias} (version {version.version})": (
            *(version.version, version.digest or "", version.tags.get(SIGNATURE_TAG)),
            alias == PRODUCTION,
        )
        for alias, version in versions.items()
        if alias in (PRODUCTION, CHALLENGER)
    }
    with suppress(FraudError):  # a pointer that cannot be read is a finding of its own
        if (release := releases.current()) is not None:
            doors["signature of the release"] = (release.version, release.digest, release.signature, True)
    for check, (version, digest, signature, answers) in doors.items():
        try:
            require_signed(trust, model, version, digest, signature, answers=answers)
            said = trust.read(signature)
            yield Finding(
                check, f"gate: {said.gate}, approved by {said.approved_by} {said.when:%Y-%m-%d %H:%M} UTC", True
            )
        except FraudError as error:
            yield Finding(check, error.cause, False)


def _release(releases: Releases, version: ModelVersion) -> Iterator[Finding]:
    try:
        release = releases.current()
        if release is None:
            yield Finding("release pointer names Production", "there is no pointer", False)
            return
        same = (release.version, release.digest) == (version.version, version.digest)
        found = f"version {release.version}, {release.digest[:_SHORT]}…"
        yield Finding("release pointer names Production", found if same else f"{found} instead", same)
        releases.bundle(release)
        yield Finding("released files", f"{len(release.files)} files as the pointer says", True)
    except FraudError as error:
        yield Finding("release can be read", str(error), False)


def _past(
    registry: Registry, production: ModelVersion, past: Callable[[Contract], tuple[int, int]]
) -> Iterator[Finding]:
    check = "features from history, as gateways look them up"
    try:
        contract = registry.bundle(production).manifest.contract
        if contract.history:
            asked, differ = past(contract)
            found = f"of {asked} sampled transactions' keys, {differ} differ from base data and decisions"
            yield Finding(check, found if asked else "no transaction is known yet", not differ)
    except FraudError as error:
        yield Finding(check, str(error), False)


def history_dict(record: Record, aliases: Mapping[str, int], registry: str) -> dict[str, Any]:
    """Every move for JSON; ``registry`` is the address that was asked."""
    return {
        "registry": masked(registry),
        "moves": [entry.to_dict() for entry in record.entries],
        "unrecorded": _unrecorded(record, aliases),
        "problems": list(record.problems),
    }


def history_table(record: Record, aliases: Mapping[str, int], registry: str) -> Table:
    """Every move for a terminal, the newest last; what was moved outside the tool shows before it is recorded.

    ``registry`` is the address that was asked.
    """
    columns = ("move", "when (UTC)", "who", "what", "gate", "ended", "why")
    empty = "No moves yet: nothing was promoted. See `python -m pipelines main --help`."
    caption = f"in {masked(registry)}"
    table = Table(columns, folding=("who", "ended", "why"), numbers=("move",), caption=caption, empty=empty)
    for entry in record.entries:
        move = entry.move
        who = f"{move.who} (asked by {move.asked_by})" if move.asked_by else move.who
        when = f"{move.when:%Y-%m-%d %H:%M:%S}"
        what = f"{move.kind} {move.alias} {_step(move.origin, move.to)}"
        table.add_row(str(entry.number), when, who, what, move.gate, _ending(entry), move.why)
    if unrecorded := _unrecorded(record, aliases):
        versions = _step(unrecorded["from"], unrecorded["to"])
        table.add_row("", "", OUTSIDE, f"outside {unrecorded['alias']} {versions}", "", "not recorded yet")
    for problem in record.problems:
        table.add_row(Text("!", "red"), "", "", "", "", "", problem)
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


def _ending(entry: Entry) -> Cell:
    if entry.ending is None:
        return Text("unfinished", "yellow")
    return f"{entry.ending.outcome}{f': {entry.ending.note}' if entry.ending.note else ''}"
