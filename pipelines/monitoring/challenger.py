"""Compares a challenger with the champion on the transactions that both have scored."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from ml_project.metrics import (
    Estimate,
    average_precision,
    cost_within,
    paired_difference,
    precision_within,
    recall_within,
)
from pipelines.monitoring.figures import Figure, LabelledFigures, LabelledLimits, labelled_rows, measure_by_label
from pipelines.monitoring.kept_decisions import ShadowPair, with_own_threshold
from pipelines.monitoring.window import Window
from pipelines.settings import PipelineSettings

COMPARED: Final = ("average_precision", "precision_at_budget", "recall_at_budget", "cost_at_budget_per_day")


@dataclass(frozen=True)
class Comparison:
    """The figures of a challenger, those of the champion on the same rows, and challenger minus champion.

    Attributes
    ----------
    agreement : float
        Share of the rows on which both decided the same.
    gains : dict
        The paired differences of ``COMPARED`` with 95 % intervals; empty where there are too few labels.
    """

    version: str
    rows: float
    agreement: float
    alert_shares: tuple[float, float]
    challenger: LabelledFigures
    champion: LabelledFigures
    gains: dict[str, Estimate]

    @property
    def figures(self) -> list[Figure]:
        """The figures to show. None is held against a limit, as no client was answered with them."""
        found = {
            "challenger_rows": self.rows,
            "challenger_agreement": self.agreement,
            "challenger_alert_share": self.alert_shares[0],
            "champion_alert_share": self.alert_shares[1],
            **{name: each.value for name, each in self.estimates.items()},
        }
        return [Figure(name, "", value) for name, value in found.items()]

    @property
    def estimates(self) -> dict[str, Estimate]:
        """Estimates by the names that they have in MLflow and on the page."""
        sides = {"challenger": self.challenger.estimates, "champion": self.champion.estimates, "gain": self.gains}
        return {f"{side}_{name}": each for side, found in sides.items() for name, each in found.items()}

    @property
    def own(self) -> dict[str, float | Estimate]:
        """The challenger's own figures; the others are the champion's on the same rows, or belong to both."""
        found = {each.metric: each.value for each in self.figures} | self.estimates
        return {name: figure for name, figure in found.items() if name.startswith("challenger_")}

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "estimates": {name: asdict(each) for name, each in self.estimates.items()}}


def compare_challenger(
    version: str,
    pair: ShadowPair,
    share: float,
    window: Window,
    now: datetime,
    settings: PipelineSettings,
    limits: LabelledLimits,
) -> Comparison:
    """Compare both on the rows that both have scored.

    Parameters
    ----------
    share : float
        Share of the champion's rows that the challenger has scored; the alert budget is reduced to it.
    """
    own = settings.model_copy(update={"alerts_per_day": settings.alerts_per_day * share})
    champion, challenger = pair.champion, with_own_threshold(pair.challenger)
    weight = champion.weight
    old, data, days = labelled_rows(champion, window, now, own)
    gains = {}
    if data.measurable:
        budget = own.alerts_per_day * days
        metrics = [average_precision, precision_within(budget), recall_within(budget)]
        if own.priced_review is not None:
            metrics.append(cost_within(budget, own.priced_review, days))
        theirs = labelled_rows(challenger, window, now, own)[0].hybrid
        wanted = dict(zip(COMPARED, metrics, strict=False))
        gains = paired_difference(data, theirs, old.hybrid, wanted, own.replicates, own.seed)
    return Comparison(
        version,
        champion.rows,
        float(weight[champion.decision == challenger.decision].sum() / champion.rows),
        (float(weight[challenger.alert].sum() / champion.rows), float(weight[champion.alert].sum() / champion.rows)),
        measure_by_label(challenger, window, now, own, limits, None),
        measure_by_label(champion, window, now, own, limits, None),
        gains,
    )
