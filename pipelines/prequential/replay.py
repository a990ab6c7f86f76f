"""Replays the ingested history block by block; each finished block is a nested run, and is never done twice."""

import hashlib
import json
from dataclasses import asdict, dataclass

from mlflow.entities import Run as MlflowRun

from ml_project.dataset import Dataset
from ml_project.engine import LocalEngine
from ml_project.ensemble import EnsembleSettings
from ml_project.metrics import Estimate
from ml_project.prequential import Budget, blocks, measure_block
from ml_project.split import Fold
from pipelines.ingest import read_ingested
from pipelines.model_logging import TWIN, read_run_bundle
from pipelines.prequential.page import Block, prequential_page, prequential_table
from pipelines.prequential.resume import resumable_run
from pipelines.progress import console, progress
from pipelines.settings import PipelineSettings
from pipelines.tracking import Run, Tracker

KIND = "block"
PAGE = "prequential.html"
_FIGURES = ("average_precision", "precision_at_budget", "recall_at_budget", "cost_per_day")


@dataclass(frozen=True)
class Plan:
    """How history is cut: see ``ml_project.prequential.blocks``."""

    blocks: int
    label_delay: float
    start: float


def run_prequential(settings: PipelineSettings, plan: Plan, run_id: str = "") -> list[Block]:
    """Replay what is not yet replayed; all blocks, those of earlier executions included.

    Parameters
    ----------
    run_id : str
        Run whose frozen settings are used, ``latest``, or empty for the defaults.

    Raises
    ------
    InvalidInput
        When nothing is ingested, or a block has too few frauds.
    """
    frame, meta = read_ingested(settings.dataset_path)
    folds = blocks(Dataset.from_frame(frame), plan.blocks, plan.start, plan.label_delay)
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
    with resumable_run(tracker, "prequential", key) as run:
        run.log(params=parameters, tags={"data.source": meta.source, "data.digest": meta.digest})
        replayed = _replay(settings, run, folds, frozen)
        for block in replayed:
            run.log(metrics={name: figure.value for name, figure in block.figures.items()}, step=block.number)
        run.log_text(prequential_page(replayed, plan.label_delay, settings), PAGE)
    console.print(prequential_table(replayed))
    console.print(f"page {PAGE} in run {run.id}")
    return replayed


def _settings(tracker: Tracker, run_id: str) -> EnsembleSettings:
    if not run_id:
        return EnsembleSettings()
    run = tracker.latest("threshold") if run_id == "latest" else tracker.run(run_id)
    return EnsembleSettings.from_dict(read_run_bundle(run, TWIN).manifest.settings)


def _replay(settings: PipelineSettings, run: Run, folds: list[Fold[Dataset]], frozen: EnsembleSettings) -> list[Block]:
    finished = _finished(run)
    if finished:
        console.print(f"  goes on after {len(finished)} of {len(folds)} blocks")
    budget = Budget(settings.alerts_per_day, settings.review_cost)
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
    """Blocks that are there whole; what a kill left open is closed, so that nobody waits for it."""
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
    figures = {name: Estimate(metrics[name], metrics[f"{name}_low"], metrics[f"{name}_high"]) for name in _FIGURES}
    return Block(int(child.data.tags["prequential.block"]), **sizes, figures=figures)
