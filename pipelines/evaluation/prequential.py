"""Replays the ingested history block by block; each finished block is a nested run and is never computed twice."""

import hashlib
import json
from dataclasses import asdict, dataclass

from mlflow.entities import Run as MlflowRun

from ml_project.dataset import Dataset
from ml_project.engine import LocalEngine
from ml_project.ensemble import EnsembleSettings
from ml_project.metrics import Estimate
from ml_project.prequential import Budget, blocks, measure_block
from ml_project.quantities import interval_text
from ml_project.split import Fold
from pipelines.console import Table, console, progress
from pipelines.data.ingest import read_ingested
from pipelines.pages.charts import Axis, Line, Picture, chart
from pipelines.pages.render import render
from pipelines.settings import PipelineSettings
from pipelines.tracking import Run, Tracker, run_address
from pipelines.training.model_logging import TWIN, read_run_bundle

KIND = "block"
PAGE = "prequential.html"
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
        replayed = _replay(settings, run, folds, frozen)
        for block in replayed:
            run.log(metrics={name: figure.value for name, figure in block.figures.items()}, step=block.number)
        run.log_text(prequential_page(replayed, plan.label_delay, settings), PAGE)
    console.print(prequential_table(replayed, settings.money))
    console.print(run_address(settings, run, PAGE))
    return replayed


def _settings(tracker: Tracker, run_id: str) -> EnsembleSettings:
    if not run_id:
        return EnsembleSettings()
    run = tracker.latest("threshold") if run_id == "latest" else tracker.run(run_id)
    return EnsembleSettings.from_dict(read_run_bundle(run, TWIN).manifest.settings)


def _replay(settings: PipelineSettings, run: Run, folds: list[Fold[Dataset]], frozen: EnsembleSettings) -> list[Block]:
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
    svg = chart(WORDS[name], Axis("block", ticks=tuple(map(str, places))), height, lines)
    return Picture(WORDS[name], svg, "With 95 % intervals.")


def prequential_table(replayed: list[Block], currency: str) -> Table:
    """A row per block."""
    names = tuple(WORDS[name] for name in replayed[0].figures)
    table = Table(("block", "frauds", "learnt from", *names), folding=names, numbers=("block", "frauds"))
    for block in replayed:
        cells = [interval_text(name, found, currency) for name, found in block.figures.items()]
        table.add_row(str(block.number), str(block.frauds), f"{block.known_frauds} frauds", *cells)
    return table
