"""The command ``compare``."""

from typing import Annotated

import typer

Number = Annotated[int, typer.Argument(min=1, help="A registered version.")]


def compare(first: Number, second: Number) -> None:
    """Two versions side by side: figures, paired differences, curves, thresholds, parameters; a page in a run."""
    from pipelines.compare.run import run_compare
    from pipelines.settings import PipelineSettings

    run_compare(PipelineSettings.model_validate({}), first, second)
