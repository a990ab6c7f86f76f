"""Quality before the labels come, of the decisions that are younger than the label delay.

Older decisions of the window, whose labels have come, say how far the probabilities can be trusted, with the random
review of approvals where there is one; what would have been expected of them without labels is shown beside what became
of them.
"""

from dataclasses import dataclass, field
from datetime import datetime

from ml_project.expected_quality import Recalibration, design_effects, expected_figures
from ml_project.metrics import Estimate, Metric, average_precision, precision_at, recall_at
from ml_project.review import corrected
from pipelines.monitoring.figures import ExpectedLimits, Figure, labelled_rows, mature_until
from pipelines.monitoring.kept_decisions import KeptDecisions
from pipelines.monitoring.window import Window
from pipelines.settings import PipelineSettings

PREFIX = "expected_"


@dataclass(frozen=True)
class ExpectedQuality:
    """What figures should be.

    Attributes
    ----------
    rows : float
        Decisions without their labels, as many as they stand for.
    estimates : dict
        Of them; empty where there are too few.
    before : dict
        Of those whose labels have come, as if they had not; for comparison with the figures by label.
    ratio : Estimate or None
        Frauds found for each one that the probabilities promised, among those whose labels have come.
    trusted : bool
        Whether labels have come for enough decisions, and bear the probabilities out.
    sentence : str
        How far that can be trusted, in words.
    """

    rows: float = 0.0
    estimates: dict[str, Estimate] = field(default_factory=dict)
    before: dict[str, Estimate] = field(default_factory=dict)
    ratio: Estimate | None = None
    trusted: bool = False
    sentence: str = "No decision is waiting for its label."

    @property
    def named(self) -> dict[str, Estimate]:
        """The estimates by the names of their figures."""
        return {f"{PREFIX}{name}": each for name, each in self.estimates.items()}

    @property
    def figures(self) -> list[Figure]:
        """Shown, never judged: no label has come that could bear them out."""
        return [Figure(name, "", each.value) for name, each in self.named.items()]


def expected_quality(
    rows: KeptDecisions, window: Window, now: datetime, settings: PipelineSettings, limits: ExpectedLimits
) -> ExpectedQuality:
    """Of a version's decisions in a window; ``now`` says which labels have come."""
    old, labelled, _days = labelled_rows(rows, window, now, settings)
    young = rows.take(rows.moment >= mature_until(window, now, settings))
    if not len(young):
        return ExpectedQuality()
    recalibration = Recalibration()
    enough = old.rows >= limits.minimum_rows and int(labelled.label.sum()) >= limits.minimum_frauds
    before: dict[str, Estimate] = {}
    if enough:
        weight = corrected(old.alert, labelled.label == 1, old.review_rate * ~old.alert, old.weight).weight
        wanted, keys = _wanted(young), list(old.keys.T)
        told = old.hybrid, old.probability, labelled.label, old.amount, weight
        effects = design_effects(*told, wanted, keys, settings.seed) if keys else {}
        recalibration = Recalibration.of(old.probability, labelled.label, weight, keys, effects, settings.seed)
        before = _figures(old, Recalibration(), settings, known=False)
    drifted = recalibration.drifted(limits.calibration_factor)
    return ExpectedQuality(
        rows=young.rows,
        estimates=_figures(young, recalibration, settings, known=True),
        before=before,
        ratio=recalibration.ratio,
        trusted=enough and not drifted,
        sentence=_sentence(recalibration.ratio, drifted),
    )


def _figures(
    rows: KeptDecisions, recalibration: Recalibration, settings: PipelineSettings, *, known: bool
) -> dict[str, Estimate]:
    return expected_figures(
        rows.hybrid,
        rows.probability,
        rows.amount,
        rows.weight,
        _wanted(rows),
        recalibration,
        rows.label if known else None,
        settings.replicates,
        settings.seed,
    )


def _wanted(rows: KeptDecisions) -> dict[str, Metric]:
    threshold = float(rows.alert_threshold[-1])
    return {
        "average_precision": average_precision,
        "precision": precision_at(threshold),
        "recall": recall_at(threshold),
    }


def _sentence(ratio: Estimate | None, drifted: bool) -> str:
    if ratio is None:
        return "Not reliable yet: too few labels have arrived to check the probabilities."
    said = f"{ratio} frauds were found for each one the probabilities predicted"
    if drifted:
        return (
            f"Not reliable: {said}. The calibration has drifted; expected figures follow the labels that have arrived."
        )
    return f"{said[0].upper()}{said[1:]}, among the decisions whose labels have arrived."
