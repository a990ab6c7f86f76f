"""What the page's charts of live traffic are drawn from."""

from datetime import datetime

from pydantic import BaseModel, Field


class Quantiles(BaseModel):
    """Of a bucket's sample."""

    p50: float
    p90: float
    p99: float


class Labels(BaseModel):
    """What was said so far of what was received."""

    alerts_labelled: int
    alerts_fraud: int = Field(description="Alerts that were fraud.")
    approved_labelled: int
    approved_fraud: int = Field(description="Frauds that were approved, as far as anybody knows.")


class Bucket(BaseModel):
    """A part of the window."""

    since: datetime
    decisions: dict[str, int]
    score: Quantiles | None = Field(description="Of the hybrid score; null where nothing was decided.")
    latency_ms: Quantiles | None = Field(description="Of single predictions; null where there were none.")
    labels: Labels


class FeatureDrift(BaseModel):
    """How far a feature or the score is from the live version's baseline."""

    name: str
    psi: float
    limit: float | None = Field(description="Null where the version's card has no limits.")
    breached: bool
    missing: float


class WindowDrift(BaseModel):
    """Drift of what the live version decided."""

    rows: int = Field(description="Rows behind it; a sample where there were more.")
    judged: bool = Field(description="Whether they suffice to be held against the limits.")
    features: list[FeatureDrift] = Field(description="The furthest first.")


class Shadow(BaseModel):
    """A challenger beside the champion, on what both scored."""

    model_version: str
    rows: int
    agree: int = Field(description="Rows on which both decide the same.")
    alerts_both: int
    alerts_champion_only: int
    alerts_challenger_only: int


class ReviewSample(BaseModel):
    """Approvals drawn at random for review: what is known of the frauds that were let through."""

    drawn: int
    labelled: int
    frauds: int
    missed_frauds: float | None = Field(
        description="Approved frauds that those stand for, each for 1 / review_rate; null without labels."
    )


class WatchAnswer(BaseModel):
    """A window of live traffic, by receipt, the oldest bucket first."""

    since: datetime
    until: datetime
    bucket_seconds: float
    rows: int
    sampled_rows: int = Field(description="Scores, latencies and drift are of so many of the rows, weighted.")
    model_version: str | None
    alert_threshold: float | None
    decline_threshold: float | None
    buckets: list[Bucket]
    drift: WindowDrift | None = Field(description="Null without a model, or where it decided nothing.")
    precision: float | None = Field(description="Frauds among the alerts that were labelled.")
    recall: float | None = Field(description="Alerts among the frauds that are known.")
    review_sample: ReviewSample
    shadow: list[Shadow]
