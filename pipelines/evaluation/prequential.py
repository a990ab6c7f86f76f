"""Replays the ingested history, block by block or week by week under rules that say when a model is retrained.

Each finished block or week is a nested run and is never computed twice.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime

import numpy as np
from mlflow.entities import Run as MlflowRun

from ml_project.dataset import Dataset
from ml_project.engine import LocalEngine
from ml_project.ensemble import EnsembleSettings
from ml_project.metrics import Estimate
from ml_project.prequential import (
    Budget,
    ReplayPlan,
    RetrainingReplay,
    RuleOutcome,
    RuleWeek,
    blocks,
    measure_block,
    retraining_rules,
    rule_outcomes,
)
from ml_project.quantities import interval_text, money
from ml_project.split import Fold
from pipelines.console import Table, console, progress
from pipelines.data.ingest import IngestedMeta, read_ingested
from pipelines.monitoring.figures import MonitorLimits, drift_figures
from pipelines.pages.charts import Axis, Line, Picture, chart
from pipelines.pages.render import render
from pipelines.settings import PipelineSettings
from pipelines.tracking import DataPart, Run, Tracker, run_address
from pipelines.training.model_logging import TWIN, read_run_bundle

KIND, WEEK_KIND = "block", "week"
PAGE, RULES_PAGE = "prequential.html", "retraining.html"
NEVER = "never"
_FIGURES = ("average_precision", "precision_at_budget", "recall_at_budget", "cost_per_day")


@dataclass(frozen=True)
class BlockSettings:
    """How history is cut: see ``ml_project.prequential.blocks``."""

    blocks: int
    label_delay: float
    start: float


WORDS = {
    "average_precision": "average precision",
    "precision_at_budget": "precision at the alert budget",
    "recall_at_budget": "recall at the alert budget",
    "cost_per_day": "cost a day",
}


@dataclass(frozen=True)
class Block:
    """A block of history: what was known before it, what it held, and how it was scored."""

    number: int
    known_rows: int
    known_frauds: int
    rows: int
    frauds: int
    figures: dict[str, Estimate]


def run_prequential(settings: PipelineSettings, plan: BlockSettings, run_id: str = "") -> list[Block]:
    """Replay the missing blocks; returns all blocks, including those of earlier executions.

    Parameters
    ----------
    run_id : str
        Run whose frozen settings are used, ``latest``, or empty for the defaults.

    Raises
    ------
    InvalidInput
        When nothing is ingested, or a block has too few frauds.
    """
    frame, meta = read_ingested(settings.dataset_path, settings.data_contract)
    folds = blocks(
        Dataset.from_frame(frame, meta.resolved(settings.data_contract)), plan.blocks, plan.start, plan.label_delay
    )
    tracker = Tracker(settings)
    frozen = _settings(tracker, run_id)
    parameters: dict[str, object] = {
        **asdict(plan),
        "data_digest": meta.digest,
        "settings": json.dumps(asdict(frozen), sort_keys=True),
        **{
            name: getattr(settings, name) for name in ("seed", "threads", "alerts_per_day", "review_cost", "replicates")
        },
    }
    key = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()
    with tracker.pipeline_run("prequential", key=key) as run:
        run.log(params=parameters, tags={"data.source": meta.source, "data.digest": meta.digest})
        whole = DataPart.of(meta.name, meta.digest)
        run.rename(f"prequential · {whole.name} · {plan.blocks} blocks")
        replayed = _replay(settings, run, folds, frozen, meta)
        for block in replayed:
            figures = {name: figure.value for name, figure in block.figures.items()}
            run.log(metrics=figures, step=block.number)
        run.log_text(prequential_page(replayed, plan.label_delay, settings), PAGE)
    console.print(prequential_table(replayed, settings.money))
    console.print(run_address(settings, run, PAGE))
    return replayed


def _settings(tracker: Tracker, run_id: str) -> EnsembleSettings:
    if not run_id:
        return EnsembleSettings()
    run = tracker.latest("threshold") if run_id == "latest" else tracker.run(run_id)
    return EnsembleSettings.from_dict(read_run_bundle(run, TWIN).manifest.settings)


def _replay(
    settings: PipelineSettings, run: Run, folds: list[Fold[Dataset]], frozen: EnsembleSettings, meta: IngestedMeta
) -> list[Block]:
    finished = _finished(run)
    if finished:
        console.print(f"  continuing after {len(finished)} of {len(folds)} blocks")
    budget = Budget(settings.alerts_per_day, settings.priced_review)
    engine = LocalEngine(settings.seed, settings.threads)
    with progress("blocks", len(folds), len(finished)) as advance:
        for number, fold in enumerate(folds):
            if number in finished:
                continue
            tags = {"kind": KIND, "prequential.block": str(number)}
            with run.child(f"block {number}", tags) as child:
                figures = measure_block(fold, frozen, engine, budget, settings.replicates)
                block = Block(number, len(fold.past), fold.past.frauds, len(fold.future), fold.future.frauds, figures)
                data = DataPart.of(meta.name, meta.digest, f"block {number}")
                child.log_dataset(fold.future.to_frame(), data, "test")
                child.log(metrics={**figures, **_sizes(block)})
            finished[number] = block
            advance(f"average precision {figures['average_precision']}")
    return [finished[number] for number in range(len(folds))]


def _finished(run: Run) -> dict[int, Block]:
    """Complete blocks; runs that a kill left open are marked as killed."""
    found: dict[int, Block] = {}
    for child in run.children(KIND):
        if child.info.status == "FINISHED":
            block = _block(child)
            found[block.number] = block
        elif child.info.status == "RUNNING":
            run.client.set_terminated(child.info.run_id, "KILLED")
    return found


def _sizes(block: Block) -> dict[str, float]:
    return {name: float(getattr(block, name)) for name in ("known_rows", "known_frauds", "rows", "frauds")}


def _block(child: MlflowRun) -> Block:
    metrics = child.data.metrics
    sizes = {name: int(metrics[name]) for name in ("known_rows", "known_frauds", "rows", "frauds")}
    figures = {
        name: Estimate(metrics[name], metrics[f"{name}_low"], metrics[f"{name}_high"])
        for name in _FIGURES
        if name in metrics
    }
    return Block(int(child.data.tags["prequential.block"]), **sizes, figures=figures)


def prequential_page(replayed: list[Block], label_delay: float, settings: PipelineSettings) -> str:
    """Self-contained HTML."""
    return render(
        "prequential.html",
        title="Prequential validation",
        blocks=replayed,
        words=WORDS,
        label_delay=label_delay,
        alerts_per_day=settings.alerts_per_day,
        review_cost=settings.priced_review,
        figures=[_picture(replayed, name, settings.money) for name in replayed[0].figures],
        currency=settings.money,
    )


def _picture(replayed: list[Block], name: str, currency: str) -> Picture:
    places = [block.number for block in replayed]
    figures = [block.figures[name] for block in replayed]
    lines = [Line("", [place, place], [f.low, f.high], "faint") for place, f in zip(places, figures, strict=True)]
    lines.append(Line("", places, [f.value for f in figures], marker="o"))
    limits = None if name == "cost_per_day" else (0.0, 1.02)
    kind = currency if name == "cost_per_day" else "number" if name == "average_precision" else "share"
    height = Axis(WORDS[name], limits=limits, kind=kind)
    svg = chart(WORDS[name], Axis("block", ticks=tuple(str(place + 1) for place in places)), height, lines)
    return Picture(WORDS[name], svg, "With 95 % intervals.")


def prequential_table(replayed: list[Block], currency: str) -> Table:
    """A row per block."""
    names = tuple(WORDS[name] for name in replayed[0].figures)
    table = Table(("block", "frauds", "learnt from", *names), folding=names, numbers=("block", "frauds"))
    for block in replayed:
        cells = [interval_text(name, found, currency) for name, found in block.figures.items()]
        table.add_row(str(block.number + 1), str(block.frauds), f"{block.known_frauds} frauds", *cells)
    return table


@dataclass(frozen=True)
class RulesSettings:
    """How weeks are replayed: see ``ml_project.prequential.ReplayPlan``; sliding windows have as many days."""

    first_days: float
    label_delay: float


def run_retraining_rules(settings: PipelineSettings, asked: RulesSettings, run_id: str = "") -> list[RuleOutcome]:
    """Replay the missing weeks under all rules; returns what each rule comes to over all weeks.

    Parameters
    ----------
    run_id : str
        See `run_prequential`.

    Raises
    ------
    InvalidInput
        When nothing is ingested, or history is too short.
    """
    frame, meta = read_ingested(settings.dataset_path, settings.data_contract)
    data = Dataset.from_frame(frame, meta.resolved(settings.data_contract))
    tracker = Tracker(settings)
    frozen = _settings(tracker, run_id)
    rules, limits = retraining_rules(asked.first_days), MonitorLimits.load(settings.monitor_limits)
    replay = retraining_replay(data, asked, settings, limits, frozen)
    parameters: dict[str, object] = {
        **asdict(asked),
        "data_digest": meta.digest,
        "settings": json.dumps(asdict(frozen), sort_keys=True),
        "drift_limits": limits.drift.model_dump_json(),
        **{name: getattr(settings, name) for name in ("seed", "threads", "alerts_per_day", "review_cost")},
    }
    key = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()
    with tracker.pipeline_run("prequential", key=key) as run:
        run.log(params=parameters, tags={"data.source": meta.source, "data.digest": meta.digest})
        weeks = _replay_weeks(run, replay)
        outcomes = rule_outcomes(rules, weeks, NEVER, settings.replicates)
        begins = [replay.begins(week) for week in range(replay.weeks)]
        run.log_text(rules_page(outcomes, weeks, begins, asked, settings), RULES_PAGE)
    console.print(rules_table(outcomes, settings.money))
    console.print(run_address(settings, run, RULES_PAGE))
    return outcomes


def retraining_replay(
    data: Dataset, asked: RulesSettings, settings: PipelineSettings, limits: MonitorLimits, frozen: EnsembleSettings
) -> RetrainingReplay:
    """The weeks of a data set under `retraining_rules`, with drift as `monitor` judges it."""
    budget = Budget(settings.alerts_per_day, settings.priced_review)
    plan = ReplayPlan(
        asked.first_days,
        asked.label_delay,
        budget,
        limits.drift,
        lambda drift: any(each.breached for each in drift_figures(drift, limits.drift)),
    )
    engine = LocalEngine(settings.seed, settings.threads)
    return RetrainingReplay(data, plan, retraining_rules(asked.first_days), frozen, engine, time.process_time)


def _replay_weeks(run: Run, replay: RetrainingReplay) -> list[dict[str, RuleWeek]]:
    finished = _finished_weeks(run)
    if finished:
        console.print(f"  continuing after {len(finished)} of {replay.weeks} weeks")
    with progress("weeks", replay.weeks, len(finished)) as advance:
        for number in range(len(finished), replay.weeks):
            with run.child(f"week {number}", {"kind": WEEK_KIND, "prequential.week": str(number)}) as child:
                week = replay.week(number, finished[-1] if finished else {})
                child.log(
                    metrics={
                        f"{key}.{name}": float(value)
                        for key, each in week.items()
                        for name, value in asdict(each).items()
                    }
                )
            finished.append(week)
            advance(f"{sum(each.trained for each in week.values())} of {len(week)} rules trained")
    return finished


def _finished_weeks(run: Run) -> list[dict[str, RuleWeek]]:
    """Complete weeks from the first on; runs that a kill left open are marked as killed."""
    found: dict[int, dict[str, RuleWeek]] = {}
    for child in run.children(WEEK_KIND):
        if child.info.status == "FINISHED":
            found[int(child.data.tags["prequential.week"])] = _rules_of(child)
        elif child.info.status == "RUNNING":
            run.client.set_terminated(child.info.run_id, "KILLED")
    return [found[number] for number in range(len(found))]


def _rules_of(child: MlflowRun) -> dict[str, RuleWeek]:
    metrics = child.data.metrics
    found = {}
    for key in dict.fromkeys(name.split(".")[0] for name in metrics):
        values = {each.name: metrics[f"{key}.{each.name}"] for each in fields(RuleWeek)}
        trained = bool(values.pop("trained"))
        found[key] = RuleWeek(trained=trained, **values)
    return found


_COLOURS = {"never": "faint", "weekly": "candidate", "monthly": "another", "drift": "champion"}


def rules_page(
    outcomes: Sequence[RuleOutcome],
    weeks: Sequence[Mapping[str, RuleWeek]],
    begins: Sequence[float],
    asked: RulesSettings,
    settings: PipelineSettings,
) -> str:
    """Self-contained HTML."""
    return render(
        RULES_PAGE,
        title="Which retraining pays",
        outcomes=outcomes,
        weeks=len(weeks),
        first=_day(begins[0]),
        asked=asked,
        alerts_per_day=settings.alerts_per_day,
        review_cost=settings.priced_review,
        pictures=_rules_pictures(outcomes, weeks, begins, settings.money),
        currency=settings.money,
    )


def _rules_pictures(
    outcomes: Sequence[RuleOutcome], weeks: Sequence[Mapping[str, RuleWeek]], begins: Sequence[float], currency: str
) -> list[Picture]:
    places = np.arange(len(weeks), dtype=float)
    shown = max(1, len(weeks) // 5)  # names of weeks that are wide enough to be read
    ticks = tuple(_day(begin) if number % shown == 0 else "" for number, begin in enumerate(begins))
    never_saved = np.array([week[NEVER].saved for week in weeks])
    never_precision = np.array([week[NEVER].average_precision for week in weeks])
    gains, precisions, costs = [], [], []
    for each in outcomes:
        rule = each.rule
        colour, style = _COLOURS[rule.key.split("_")[0]], "--" if rule.days is None else "-"
        saved = np.array([week[rule.key].saved for week in weeks])
        precision = np.array([week[rule.key].average_precision for week in weeks])
        if rule.key != NEVER:
            gains.append(Line(rule.name, places, np.cumsum(saved - never_saved), colour, style))
            precisions.append(Line(rule.name, places, precision - never_precision, colour, style))
        costs.append(
            Line(rule.name, [each.seconds], [each.saved], colour, "", marker="s" if rule.days is None else "o")
        )
    week = Axis("week from", ticks=ticks)
    return [
        _drawn("Money saved by retraining", week, Axis("sum since the first week", kind=currency), gains),
        _drawn("Average precision gained by retraining", week, Axis("average precision"), precisions),
        _drawn(
            "What it costs", Axis("processor seconds of all trainings"), Axis("money saved a day", kind=currency), costs
        ),
    ]


def _drawn(title: str, x: Axis, y: Axis, lines: list[Line]) -> Picture:
    return Picture(
        title, chart(title, x, y, lines), "Dashed lines and squares: trained on all days; others: on the last."
    )


def _day(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%-d %b}"


def rules_table(outcomes: Sequence[RuleOutcome], currency: str) -> Table:
    """A row per rule."""
    numbers = ("saved a day", "average precision", "trainings", "processor")
    table = Table(("retrained", "saved a day", "more than never", *numbers[1:]), numbers=numbers)
    for each in outcomes:
        gain = interval_text("cost_per_day", each.gain, currency)
        cells = (money(each.saved, currency), gain, f"{each.average_precision:.3f}", str(each.trainings))
        table.add_row(each.rule.name, *cells, f"{each.seconds:.0f} s")
    return table
