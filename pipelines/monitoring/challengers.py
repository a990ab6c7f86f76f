"""A challenger held against the champion: what it would have decided otherwise, and what labels say of both."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from ml_project.metrics import Estimate, paired_difference
from ml_project.savings import losses, paired_savings
from pipelines.monitoring.labelled import LEAST_FRAUDS, Mature, matured_until
from pipelines.monitoring.pairs import Pair
from pipelines.monitoring.reading import DECISIONS, Decided
from pipelines.monitoring.window import Window
from pipelines.settings import PipelineSettings


@dataclass(frozen=True)
class Challenger:
    """A challenger held against the champion, on what both scored.

    Attributes
    ----------
    agreement : float
        Share of rows with the same decision.
    alert_share, champion_alert_share : float
    decisions : dict
        How many rows the champion decided so and the challenger otherwise: ``{"APPROVE": {"REVIEW": 3.0, ...}, ...}``.
    frauds : int
        Among rows that are old enough to be measured.
    differences : dict of Estimate
        Challenger minus champion, ``average_precision`` and ``savings`` (a share of all fraud's money, each at its own
        alert threshold), on the same resamples; empty where there were too few frauds.
    """

    version: str
    rows: float
    agreement: float
    alert_share: float
    champion_alert_share: float
    decisions: dict[str, dict[str, float]]
    frauds: int
    differences: dict[str, Estimate]

    @property
    def sentence(self) -> str:
        """For the screen."""
        alerts = f"{self.alert_share:.2%} alerts (champion {self.champion_alert_share:.2%})"
        said = [
            f"{name.replace('_', ' ')} {each.value:+.3f} [{each.low:+.3f}, {each.high:+.3f}]"
            for name, each in self.differences.items()
        ]
        labels = ", ".join(said) or f"{self.frauds} frauds known, too few to compare"
        return (
            f"Challenger {self.version}: {self.rows:,.0f} rows, {self.agreement:.2%} decided alike, {alerts}; {labels}."
        )

    @classmethod
    def of(cls, version: str, pair: Pair, window: Window, now: datetime, settings: PipelineSettings) -> "Challenger":
        """Measured on a pair."""
        champion, challenger = pair.champion, pair.challenger
        counts = np.zeros((len(DECISIONS), len(DECISIONS)))
        np.add.at(counts, (champion.decision, challenger.decision), champion.weight)
        alert_share, champions = (float(each.weight[each.alert].sum() / each.rows) for each in (challenger, champion))
        old = pair.take(champion.moment < matured_until(window, now, settings).timestamp())
        data = Mature.of(old.champion)
        frauds = int(data.label.sum())
        judged = LEAST_FRAUDS <= frauds < len(data.label)
        return cls(
            version,
            champion.rows,
            float(np.trace(counts) / counts.sum()),
            alert_share,
            champions,
            {
                name: dict(zip(DECISIONS, row, strict=True))
                for name, row in zip(DECISIONS, counts.tolist(), strict=True)
            },
            frauds,
            _differences(old, data, settings) if judged else {},
        )


def _differences(old: Pair, data: Mature, settings: PipelineSettings) -> dict[str, Estimate]:
    ranking = paired_difference(
        data, old.challenger.hybrid, old.champion.hybrid, None, settings.replicates, settings.seed
    )
    lost = [
        losses(data, each.hybrid, _alert_threshold(each), settings.review_cost)
        for each in (old.challenger, old.champion)
    ]
    return {**ranking, "savings": paired_savings(data, lost[0], lost[1], settings.replicates, settings.seed)}


def _alert_threshold(rows: Decided) -> float:
    """One that gives these decisions: shadow decisions are kept without theirs."""
    alerts: NDArray[np.float64] = rows.hybrid[rows.alert]
    return float(alerts.min()) if len(alerts) else float("inf")
