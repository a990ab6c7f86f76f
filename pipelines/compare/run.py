"""Compares two versions in a run of its own: the versions' own runs are evidence and stay as they were judged."""

from pipelines.compare.comparison import Comparison, compare
from pipelines.compare.pages import comparison_page, comparison_table
from pipelines.compare.versions import read_version
from pipelines.progress import console
from pipelines.settings import PipelineSettings
from pipelines.tracking import Tracker
from stores.registry import Registry

PAGE = "compare.html"


def run_compare(settings: PipelineSettings, first: int, second: int) -> Comparison:
    """Compare, log and show.

    Raises
    ------
    InvalidInput
        When one of the versions does not exist.
    """
    tracker, registry = Tracker(settings), Registry(settings.mlflow_uri, settings.model_name)
    sides = [read_version(tracker, registry, number) for number in (first, second)]
    comparison = compare(sides[0], sides[1], settings)
    with tracker.pipeline_run(f"compare {first} {second}") as run:
        run.log(
            params={"first": first, "second": second},
            metrics={
                f"difference_{name}": gain
                for name, gain in (comparison.paired.differences if comparison.paired else {}).items()
            },
            tags={"kind": "comparison"},
        )
        run.log_text(comparison_page(comparison, settings), PAGE)
    console.print(comparison_table(comparison))
    if comparison.paired is None:
        console.print("There are no rows that both twins could be scored on: do not subtract these figures.")
    console.print(f"page {PAGE} in run {run.id}")
    return comparison
