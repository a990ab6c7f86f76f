"""The comparison itself: figures as logged, paired differences on common rows, parameters, thresholds."""

from dataclasses import dataclass

from ml_project.bundle import Bundle
from ml_project.card import Figure
from ml_project.dataset import Dataset
from ml_project.metrics import Estimate, losses, paired_difference, paired_savings, ranking_metrics
from ml_project.policies import Thresholds
from ml_project.scorer import Scorer, Scores
from ml_project.split import MIN_FRAUDS
from pipelines.card.build import figures
from pipelines.compare.versions import ComparedVersion
from pipelines.gate.evidence import unseen_by
from pipelines.settings import PipelineSettings

Pair = tuple[ComparedVersion, ComparedVersion]


@dataclass(frozen=True)
class Paired:
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
    paired: Paired | None

    @property
    def differing(self) -> dict[str, tuple[str, str]]:
        """The parameters that differ."""
        return {name: values for name, values in self.parameters.items() if values[0] != values[1]}


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


def _paired(pair: Pair, settings: PipelineSettings) -> Paired | None:
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
    if alerts[0] is not None and alerts[1] is not None:
        lost = [
            losses(rows, scores[side].hybrid, thresholds.alert, settings.review_cost)
            for side, thresholds in enumerate((alerts[0], alerts[1]))
        ]
        differences["savings"] = paired_savings(rows, lost[1], lost[0], settings.replicates, settings.seed)
    return Paired(rows, scores, differences)


def _unseen(test: Dataset, other: Bundle, own: Bundle) -> Dataset:
    return test.take(unseen_by(test, other, str(own.manifest.data["source"])))
