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
    float | None,
    typer.Option(
        min=0,
        help="Days until a label is known, often 7 to 30; the public set spans 2 in all. By default 0.1, with "
        "--retraining FRAUD_LABEL_DELAY_DAYS.",
    ),
]
RunId = Annotated[
    str, typer.Option(help="Freeze the settings of this run (an id, or `latest`); empty: the project's defaults.")
]
Retraining = Annotated[
    bool, typer.Option("--retraining", help="Week by week instead, under rules that say when a model is trained anew.")
]
FirstDays = Annotated[
    float, typer.Option(min=1, help="Of --retraining: days that the first model, and a sliding window, learns from.")
]


def prequential(
    blocks: Blocks = 6,
    label_delay: Delay = None,
    start: Start = 0.4,
    run_id: RunId = "",
    retraining: Retraining = False,
    first_days: FirstDays = 30.0,
) -> None:
    """Replay the ingested history: learn from what was known, score the next block, move on.

    Average precision, precision at the alert budget and cost of every block go into a run, with a page.

    With --retraining the history is replayed week by week: never trained anew, every week, every four weeks, and when
    a week drifted, on the latest days and on all of them. The page, retraining.html, says how much money each would
    have saved, at which average precision, and what its trainings took.

    If it is interrupted, the same command resumes at the first missing block or week.
    """
    from pipelines.evaluation.prequential import BlockSettings, RulesSettings, run_prequential, run_retraining_rules
    from pipelines.settings import PipelineSettings

    settings = PipelineSettings.model_validate({})
    if retraining:
        delay = settings.label_delay_days if label_delay is None else label_delay
        run_retraining_rules(settings, RulesSettings(first_days, delay), run_id)
    else:
        run_prequential(settings, BlockSettings(blocks, 0.1 if label_delay is None else label_delay, start), run_id)
