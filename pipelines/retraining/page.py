"""A retraining's data set in words, for the run's page in MLflow and for the terminal."""

from datetime import datetime

from pipelines.retraining.champion import Inherited
from pipelines.retraining.dataset import Built
from pipelines.settings import PipelineSettings


def explained(built: Built, champion: Inherited, reason: str, until: datetime, settings: PipelineSettings) -> str:
    """What the data set holds and why (Markdown)."""
    sources, report = built.sources, built.meta.cleaning
    ends = f", put to end at {built.base_until:%Y-%m-%d %H:%M} UTC" if built.base_until else ""
    again = f"; {sources.base_again:,} more were decided, too, and count there" if sources.base_again else ""
    if sources.corrected_frauds > sources.approved_frauds:
        corrected = (
            f"more than chance: {sources.approved_frauds:g} known frauds among approvals count for "
            f"{sources.corrected_frauds:.0f}"
        )
    else:
        corrected = "no more than labels say: nothing is corrected"
    start = f"version {champion.version}'s settings" if champion.settings else "the default settings"
    return "\n".join(
        [
            f"Retraining ({reason}) on {report.rows_out:,} rows, {report.frauds:,} of them frauds; "
            f"digest `{built.meta.digest[:16]}`.",
            "",
            f"- base data: {sources.base_rows:,} rows, {sources.base_frauds:,} frauds{ends}{again}",
            f"- decisions on transactions before {until:%Y-%m-%d %H:%M} UTC ({settings.label_delay_days:g} days for "
            f"labels): {sources.decided_rows:,.0f}, {sources.decided_alerts:,} alerts",
            f"- their labels: {sources.decided_frauds:,} fraud, {sources.decided_legitimate:,} legitimate; "
            f"{sources.decided_unlabelled:,} without one count as legitimate",
            f"- random review of approvals: {sources.reviewed_frauds:,} frauds among {sources.reviewed_approvals:,}, "
            f"{corrected}",
            f"- {report.duplicates_dropped:,} exact duplicates dropped; tuning starts from {start}",
        ]
    )
