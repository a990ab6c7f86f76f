"""The commands that say how good models are: ``compare`` and ``prequential``."""

from typing import Annotated

import typer

Number = Annotated[int, typer.Argument(min=1, help="A registered version.")]


def compare(first: Number, second: Number) -> None:
    """Two versions side by side: figures, paired differences, curves, thresholds, parameters; a page in a run."""
    from pipelines.evaluation.compare import run_compare
    from pipelines.settings import PipelineSettings

    run_compare(PipelineSettings.model_validate({}), first, second)


Blocks = Annotated[int, typer.Option(min=2, help="Blocks after the start, of equal numbers of transactions.")]
Start = Annotated[float, typer.Option(min=0.05, max=0.95, help="Share of the history that is only learnt from.")]
Delay = Annotated[
    float,
    typer.Option(min=0, help="Days until a label is known; a bank's own are often 7 to 30, the public set spans 2."),
]
RunId = Annotated[
    str, typer.Option(help="Freeze the settings of this run (an id, or `latest`); empty: the project's defaults.")
]


def prequential(blocks: Blocks = 6, label_delay: Delay = 0.1, start: Start = 0.4, run_id: RunId = "") -> None:
    """Replay the ingested history: learn from what was known, score the next block, move on.

    Average precision, precision at the alert budget and cost of every block go into a run, with a page.

    If it is interrupted, the same command resumes at the first missing block.
    """
    from pipelines.evaluation.prequential import BlockSettings, run_prequential
    from pipelines.settings import PipelineSettings

    run_prequential(PipelineSettings.model_validate({}), BlockSettings(blocks, label_delay, start), run_id)
