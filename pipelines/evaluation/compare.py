"""Two versions side by side: figures as logged, paired differences on common rows, parameters, thresholds.

A comparison has a separate run: the versions' runs are evidence and stay as they were judged.
"""

from dataclasses import dataclass

from mlflow.entities import Run as MlflowRun

from ml_project.bundle import Bundle
from ml_project.card import FIGURES, Figure
from ml_project.dataset import Dataset
from ml_project.errors import InvalidInput
from ml_project.metrics import Estimate, losses, paired_difference, paired_savings, ranking_metrics
from ml_project.policies import NEVER, Thresholds
from ml_project.quantities import difference_interval, interval_text, thresholds_text
from ml_project.scorer import Scorer, Scores
from ml_project.split import MIN_FRAUDS
from pipelines.console import Table, console
from pipelines.pages.charts import Picture, Side, curves
from pipelines.pages.render import render, short
from pipelines.promotion.card import figures
from pipelines.promotion.evidence import unseen_by
from pipelines.settings import PipelineSettings
from pipelines.tracking import Tracker, run_address
from pipelines.training.model_logging import TWIN, read_run_bundle
from pipelines.training.train import TEST_ROWS
from stores.registry import Registry

PAGE = "compare.html"
WORDS = {**FIGURES, "savings": "savings, as a share of the money lost to fraud"}


@dataclass(frozen=True)
class ComparedVersion:
    """A version with everything that is compared.

    Attributes
    ----------
    twin, test : Bundle and Dataset, or None
        None where the run holds none, as with a version that was registered by hand.
    """

    number: int
    shipped: Bundle
    run: MlflowRun | None
    twin: Bundle | None
    test: Dataset | None

    @property
    def metrics(self) -> dict[str, float]:
        """The run's metrics."""
        return dict(self.run.data.metrics) if self.run else {}

    @property
    def parameters(self) -> dict[str, str]:
        """The run's parameters."""
        return dict(self.run.data.params) if self.run else {}

    @property
    def twin_thresholds(self) -> Thresholds | None:
        """The twin's thresholds by the policy that ships."""
        return self.twin.manifest.policies.get(self.shipped.manifest.policy) if self.twin else None


Pair = tuple[ComparedVersion, ComparedVersion]


@dataclass(frozen=True)
class PairedTwins:
    """Both twins on rows that neither has seen; ``differences`` are the second's minus the first's."""

    rows: Dataset
    scores: tuple[Scores, Scores]
    differences: dict[str, Estimate]


@dataclass(frozen=True)
class Comparison:
    """Two versions side by side; every pair has the first version's part first."""

    versions: Pair
    figures: dict[str, tuple[Figure | None, Figure | None]]
    parameters: dict[str, tuple[str, str]]
    thresholds: dict[str, tuple[Thresholds | None, Thresholds | None]]
    paired: PairedTwins | None

    @property
    def differing(self) -> dict[str, tuple[str, str]]:
        """The parameters that differ."""
        return {name: values for name, values in self.parameters.items() if values[0] != values[1]}


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
        run.rename(f"compare v{first} with v{second}")
        run.log_text(comparison_page(comparison, settings), PAGE)
    console.print(comparison_table(comparison, settings.money))
    if comparison.paired is None:
        console.print("There are no rows that both twins could be scored on: do not subtract these figures.")
    console.print(run_address(settings, run, PAGE))
    return comparison


def read_version(tracker: Tracker, registry: Registry, number: int) -> ComparedVersion:
    """A version from the registry.

    Raises
    ------
    InvalidInput
        When there is no such version.
    """
    version = registry.version(number)
    shipped = registry.bundle(version, require_digest=False)
    try:
        run = tracker.run(version.run_id)
    except InvalidInput:
        return ComparedVersion(number, shipped, None, None, None)
    try:
        twin = read_run_bundle(run, TWIN)
        test = Dataset.from_frame(run.frame(TEST_ROWS), twin.manifest.contract)
    except InvalidInput:
        return ComparedVersion(number, shipped, run.data, None, None)
    return ComparedVersion(number, shipped, run.data, twin, test)


def compare(first: ComparedVersion, second: ComparedVersion, settings: PipelineSettings) -> Comparison:
    """Everything that two versions can be compared by."""
    pair = (first, second)
    logged = [figures(version.metrics) for version in pair]
    parameters = [version.parameters for version in pair]
    policies = [version.shipped.manifest.policies for version in pair]
    return Comparison(
        versions=pair,
        figures={name: (logged[0].get(name), logged[1].get(name)) for name in {**logged[0], **logged[1]}},
        parameters={
            name: (parameters[0].get(name, ""), parameters[1].get(name, ""))
            for name in sorted({**parameters[0], **parameters[1]})
        },
        thresholds={name: (policies[0].get(name), policies[1].get(name)) for name in {**policies[0], **policies[1]}},
        paired=_paired(pair, settings),
    )


def _paired(pair: Pair, settings: PipelineSettings) -> PairedTwins | None:
    first, second = pair
    if first.twin is None or first.test is None or second.twin is None or second.test is None:
        return None
    rows = max(
        _unseen(first.test, second.twin, first.twin),
        _unseen(second.test, first.twin, second.twin),
        key=lambda data: data.frauds,
    )
    if rows.frauds < MIN_FRAUDS:
        return None
    scores = (Scorer(first.twin).score(rows.raw), Scorer(second.twin).score(rows.raw))
    differences = paired_difference(
        rows, scores[1].hybrid, scores[0].hybrid, ranking_metrics(), settings.replicates, settings.seed
    )
    alerts = (first.twin_thresholds, second.twin_thresholds)
    review_cost = settings.priced_review
    if alerts[0] is not None and alerts[1] is not None and review_cost is not None:
        lost = [
            losses(rows, scores[side].hybrid, thresholds.alert, review_cost)
            for side, thresholds in enumerate((alerts[0], alerts[1]))
        ]
        differences["savings"] = paired_savings(rows, lost[1], lost[0], settings.replicates, settings.seed)
    return PairedTwins(rows, scores, differences)


def _unseen(test: Dataset, other: Bundle, own: Bundle) -> Dataset:
    return test.take(unseen_by(test, other, str(own.manifest.data["source"])))


def comparison_page(comparison: Comparison, settings: PipelineSettings) -> str:
    """Self-contained HTML."""
    first, second = comparison.versions
    return render(
        "compare.html",
        title=f"{settings.model_name}: {first.number} and {second.number}",
        model_name=settings.model_name,
        comparison=comparison,
        words=WORDS,
        figures=_pictures(comparison, settings),
        currency=settings.money,
    )


def _pictures(comparison: Comparison, settings: PipelineSettings) -> list[Picture]:
    paired = comparison.paired
    if paired is None:
        return []
    sides = [
        Side(
            f"version {version.number}",
            scores.hybrid,
            scores.probability,
            version.twin_thresholds.alert if version.twin_thresholds else NEVER,
        )
        for version, scores in zip(comparison.versions, paired.scores, strict=True)
    ]
    # the second is compared with the first as the gate compares a candidate with the champion
    return curves(paired.rows, reversed(sides), settings.priced_review, settings.money)


def comparison_table(comparison: Comparison, currency: str) -> Table:
    """Figures, paired differences, thresholds and the parameters that differ."""
    first, second = comparison.versions
    sides = f"version {first.number}", f"version {second.number}"
    title = f"Version {first.number} and version {second.number}"
    table = Table(
        ("figure", *sides, "difference on common rows"),
        folding=("figure", *sides, "difference on common rows"),
        title=title,
    )
    differences = comparison.paired.differences if comparison.paired else {}
    for name in {**comparison.figures, **differences}:
        pair = comparison.figures.get(name, (None, None))
        cells = [interval_text(name, f, currency) if f else "" for f in pair]
        gain = differences.get(name)
        table.add_row(WORDS[name], *cells, difference_interval(name, gain, currency) if gain else "")
    table.add_section()
    for name, limits in comparison.thresholds.items():
        used = [name == version.shipped.manifest.policy for version in comparison.versions]
        cells = [
            (thresholds_text(t) if t else "") + (" (in use)" if use else "")
            for t, use in zip(limits, used, strict=True)
        ]
        table.add_row(f"policy {name}", *cells)
    table.add_section()
    for name, values in comparison.differing.items():
        table.add_row(name, *map(short, values))
    return table
