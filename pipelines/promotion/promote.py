"""The step ``promote``: register a candidate, pass it through the gate, and move ``Production`` to it."""

from dataclasses import dataclass
from enum import StrEnum

from ml_project.errors import Forbidden, InvalidInput, LostRace, Refused
from pipelines.console import console, step
from pipelines.data.past_events import rebuild
from pipelines.promotion.checks import judge
from pipelines.promotion.evidence import gather
from pipelines.promotion.mover import Mover, Standing, open_mover, user_name
from pipelines.promotion.report import GateLimits, GateReport, log_report
from pipelines.run_page import REFUSED_TAG, describe
from pipelines.settings import PipelineSettings
from pipelines.tracking import DONE_TAG, OUTCOME_TAG, VERSION_TAG, Run, Tracker
from pipelines.training.model_logging import MODEL_URI_TAG
from stores.moves import Entry, Kind, Verdict
from stores.registry import CHALLENGER, DIGEST_TAG, PRODUCTION, SOURCE_TAG, ModelVersion, Registry
from stores.released import FAILURES_TAG, GATE_TAG, cleared, gate_result

JUDGED_BY_TAG = "gate.judged_by"
"""On a version: who had the gate judge it last."""


_TAG_LENGTH = 5_000
"""MLflow's limit for the value of a tag."""


class Outcome(StrEnum):
    """What became of a candidate."""

    PROMOTED = "promoted"
    REFUSED = "refused"
    WAITING = "waiting"
    REGISTERED = "registered"
    UNCHANGED = "unchanged"


@dataclass(frozen=True)
class Order:
    """What a person asks for besides the candidate.

    Attributes
    ----------
    expect_current : int or None
        The version that must be Production; 0 for none yet.
    force : bool
        Override a failed gate, except for checks that cannot be forced; needs a reason.
    kind : Kind
        Promotion of a model, or of another policy for one.
    """

    reason: str = ""
    force: bool = False
    expect_current: int | None = None
    kind: Kind = Kind.PROMOTE


@dataclass(frozen=True)
class Promotion:
    """The result of a promotion.

    Attributes
    ----------
    version : ModelVersion
        The candidate's version; the champion's own where the candidate is that very bundle.
    champion : ModelVersion or None
        What was Production before.
    request : Entry or None
        What waits for a second person.
    unforceable : str
        The checks that force did not override, if it was tried.
    """

    outcome: Outcome
    version: ModelVersion
    champion: ModelVersion | None
    report: GateReport | None = None
    request: Entry | None = None
    unforceable: str = ""

    @property
    def production(self) -> ModelVersion | None:
        """What is Production now."""
        return self.version if self.outcome in (Outcome.PROMOTED, Outcome.UNCHANGED) else self.champion

    @property
    def sentence(self) -> str:
        """For the screen."""
        number, stays = self.version.version, "There is still no Production"
        if self.champion is not None:
            stays = f"Version {self.champion.version} stays Production"
        if self.outcome is Outcome.PROMOTED:
            before = f" (before: version {self.champion.version})" if self.champion else ""
            forced = f", forced past the gate: {self.report.failures}" if self.report and not self.report.passed else ""
            return f"Production is now version {number}{before}{forced}."
        if self.outcome is Outcome.UNCHANGED:
            return f"The candidate is version {number}, which is Production already; nothing to do."
        if self.outcome is Outcome.REGISTERED:
            return (
                f"{stays}; the candidate is registered as version {number}. Someone who may promote can run: "
                f"python -m pipelines promote --version {number}"
            )
        if self.request is not None:
            return (
                f"{stays}; version {number} waits for approval (asked by {self.request.move.who}). Another person: "
                f"python -m pipelines approve {number} --reason TEXT"
            )
        reason = self.report.failures if self.report else ""
        never = f". Force does not override {self.unforceable}" if self.unforceable else ""
        return f"{stays}; version {number} is Challenger. The gate refused it: {reason}{never}"


def promote(
    settings: PipelineSettings,
    tracker: Tracker,
    run: Run,
    version: ModelVersion | None = None,
    order: Order = Order(),
) -> Promotion:
    """Promote a run's model if the gate lets it pass.

    Parameters
    ----------
    version : ModelVersion, optional
        The version to promote; by default the newest that the run registered, or a new one.

    Raises
    ------
    InvalidInput
        When the run has no finished model, or force has no reason.
    Refused
        When it is Production already and no gate let it pass.
    LostRace
        When Production is not what was expected, or was moved while the gate judged.
    """
    tags = run.data.data.tags
    if DIGEST_TAG not in tags or MODEL_URI_TAG not in tags:
        raise InvalidInput(f"Run {run.id} has no finished model.", "Run the steps train and threshold first.")
    if order.force and not order.reason:
        raise InvalidInput("A forced promotion needs a reason.", "Give --reason TEXT.")
    run.touch("promote")
    mover = open_mover(settings)
    with step("promote"), run.timed("promote"):
        try:
            standing = mover.settle()
        except Forbidden:
            return _recorded(settings, run, _left_to_others(mover, run, version))
        current = standing.aliases.get(PRODUCTION)
        if order.expect_current is not None and order.expect_current != (current or 0):
            raise LostRace(
                f"Production is {f'version {current}' if current else 'not set'}, not version {order.expect_current}.",
                "See `python -m pipelines history`, then decide again.",
            )
        champion = None if current is None else mover.registry.version(current)
        if champion is not None and champion.digest == tags[DIGEST_TAG]:
            _require_cleared(champion)
            champion = mover.sign(champion)
            mover.publish(champion)
            return _recorded(settings, run, Promotion(Outcome.UNCHANGED, champion, champion))
        candidate = version or mover.registry.find(run.id) or _register(mover.registry, run)
        waiting = standing.record.waiting(candidate.version) if settings.require_approval else None
        if waiting is not None:
            return _recorded(settings, run, Promotion(Outcome.WAITING, candidate, champion, request=waiting))
        try:
            # also so that who may not change the registry hears it before the gate begins
            mover.registry.tag(candidate.version, JUDGED_BY_TAG, user_name(settings))
        except Forbidden:
            return _recorded(settings, run, _left_to_others(mover, run, candidate))
        mover.seal.require()
        candidate = _described(mover.registry, candidate, tags)
        report = _judge(settings, tracker, run, champion)
        log_report(settings, run, candidate.version, report)
        console.print(report.to_table())
        mover.registry.tag(candidate.version, GATE_TAG, str(report.passed).lower())
        mover.registry.tag(candidate.version, FAILURES_TAG, report.failures or "none")
        if settings.data_contract.history and (report.passed or order.force):
            # before any gateway asks for it
            contract = mover.registry.bundle(candidate, require_digest=False).manifest.contract
            console.print(f"  {rebuild(settings, contract).sentence}")
        promotion = _carry_out(settings, mover, standing, candidate, champion, report, order)
    run.log(tags={f"{DONE_TAG}promote": "true"})
    return _recorded(settings, run, promotion)


def _recorded(settings: PipelineSettings, run: Run, promotion: Promotion) -> Promotion:
    """Write on the run what became of its model."""
    refused = (
        {REFUSED_TAG: promotion.report.failures[:_TAG_LENGTH]}
        if promotion.report and not promotion.report.passed
        else {}
    )
    run.log(tags={OUTCOME_TAG: promotion.outcome, VERSION_TAG: promotion.version.version, **refused})
    describe(run, settings, promotion.sentence)
    return promotion


def _require_cleared(champion: ModelVersion) -> None:
    if not cleared(gate_result(champion.tags)):
        raise Refused(
            f"Version {champion.version} is Production already, but was moved there past the gate.",
            "Roll back, then promote it: the gate compares it with what was Production before.",
        )


def _carry_out(
    settings: PipelineSettings,
    mover: Mover,
    standing: Standing,
    candidate: ModelVersion,
    champion: ModelVersion | None,
    report: GateReport,
    order: Order,
) -> Promotion:
    unforceable = report.unforceable if order.force else ""
    if not report.passed and (unforceable or not order.force):
        # every attempt to force is recorded in the history
        if unforceable or standing.aliases.get(CHALLENGER) != candidate.version:
            tried = f"force ({order.reason[:300]}) does not override {unforceable}; " if unforceable else ""
            why = f"{tried}the gate refused it: {report.failures}"
            mover.move(standing, Kind.CHALLENGE, candidate, why[:1000], "refused")
        return Promotion(Outcome.REFUSED, candidate, champion, report, unforceable=unforceable)
    gate: Verdict = "passed" if report.passed else "forced"
    reason = order.reason or "the gate passed it"
    if settings.require_approval:
        request = mover.move(standing, Kind.REQUEST, candidate, reason, gate)
        return Promotion(Outcome.WAITING, candidate, champion, report, request)
    mover.move(standing, order.kind, candidate, reason, gate)
    return Promotion(Outcome.PROMOTED, candidate, champion, report)


def _left_to_others(mover: Mover, run: Run, version: ModelVersion | None) -> Promotion:
    """What whoever trains can do where only the promotion may promote: the candidate is registered."""
    registry = mover.registry
    candidate = version or registry.find(run.id) or _register(registry, run)
    return Promotion(Outcome.REGISTERED, candidate, registry.resolve(PRODUCTION))


def _register(registry: Registry, run: Run) -> ModelVersion:
    """A new version, still without the tags from which the platform decides."""
    tags, metrics = run.data.data.tags, run.data.data.metrics
    description = (
        f"Trained on {tags[SOURCE_TAG]} data. Evaluation twin on later rows: average precision "
        f"{metrics['test_average_precision']:.3f} "
        f"[{metrics['test_average_precision_low']:.3f}, {metrics['test_average_precision_high']:.3f}]."
    )
    return registry.register(tags[MODEL_URI_TAG], run.id, {}, description)


def _described(registry: Registry, version: ModelVersion, tags: dict[str, str]) -> ModelVersion:
    """A version with the tags of what its run made, which the promotion alone may set where Production is locked."""
    made = {name: tags[name] for name in (DIGEST_TAG, SOURCE_TAG, "data.digest", "fraud.policy") if name in tags}
    if version.digest not in (None, made[DIGEST_TAG]):
        raise InvalidInput(
            f"Version {version.version} has another digest than run {version.run_id} made.", "Promote the run."
        )
    missing = {name: value for name, value in made.items() if name not in version.tags}
    for name, value in missing.items():
        registry.tag(version.version, name, value)
    return registry.version(version.version) if missing else version


def _judge(settings: PipelineSettings, tracker: Tracker, run: Run, champion: ModelVersion | None) -> GateReport:
    limits = GateLimits.load()
    return judge(limits, gather(tracker, run, champion, limits, settings.trial))
