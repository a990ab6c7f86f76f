"""Scores a kept prediction again, by the version that gave it: every decision can be explained later."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ml_project.scorer import decide
from serving.settings import GatewaySettings
from stores.decisions import DecisionRecord
from stores.mlflow_client import quiet_mlflow


@dataclass(frozen=True, slots=True)
class Replay:
    """Then and now, by name: the two scores as numbers, the decision as text."""

    prediction_id: str
    model_version: str
    then: dict[str, float | str]
    now: dict[str, float | str]

    @property
    def equal(self) -> bool:
        """Nothing differs, down to the last bit."""
        return self.then == self.now

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"prediction {self.prediction_id} by version {self.model_version}"
        for name, then in self.then.items():
            yield f"{name}: stored {then}, replayed {self.now[name]}"
        yield "equal" if self.equal else "DIFFERENT"


def replay(record: DecisionRecord, settings: GatewaySettings) -> Replay:
    """Load the bundle with the stored digest, from the cache, the release or the registry, and score.

    Raises
    ------
    InvalidBundle
        When the files found are not those of the digest.
    Unavailable
        When they cannot be fetched.
    """
    quiet_mlflow()  # before what imports MLflow
    from stores.history import History
    from stores.production import LiveVersion, Production
    from stores.registry import Registry
    from stores.releases import open_releases

    releases = open_releases(settings.releases_uri, settings.s3_endpoint_url)
    release = releases.current()
    if release is not None and release.digest != record.bundle_digest:
        release = None
    version = LiveVersion(
        int(record.model_version), record.bundle_digest, "release pointer" if release else "registry", release
    )
    registry = Registry(settings.tracking_uri, settings.model_name)
    history = History(settings.tracking_uri, settings.model_name)
    scorer = Production(registry, releases, settings.bundle_cache, history).load(version, threads=1)
    scores = scorer.score(np.array([record.inputs]))
    hybrid = float(scores.hybrid[0])
    return Replay(
        record.prediction_id,
        record.model_version,
        {
            "hybrid_score": record.hybrid_score,
            "fraud_probability": record.fraud_probability,
            "decision": record.decision,
        },
        {
            "hybrid_score": hybrid,
            "fraud_probability": float(scores.probability[0]),
            "decision": str(decide(hybrid, scorer.thresholds)),
        },
    )
