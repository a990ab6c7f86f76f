"""A day of decisions in a gateway's database, as its version would have given them, with some of them labelled."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import numpy as np

from ml_project.policies import Decision, decide
from ml_project.reasons import Explainer
from ml_project.review import drawn_for_review
from ml_project.scorer import Scorer
from ml_project.simulator import simulate
from stores.decisions import DecisionRecord, DecisionStore, KeptContract, LabelItem, ShadowDecision, open_engine
from tests.browser.released import Version
from tests.support.creditcard import DRIFTING, RAW_FEATURES

SAMPLE_RATE = 0.01


def keep_a_day(version: Version, state: Path, rows: int = 4_000) -> list[DecisionRecord]:
    """Decisions received over the last day, the oldest third labelled, and a challenger beside them."""
    (chunk,) = simulate(rows, seed=9, fraud_rate=0.01)
    raw = chunk.raw[np.argsort(chunk.raw[:, 0])].copy()
    raw[:, RAW_FEATURES.index(DRIFTING)] += 0.7  # something to see among the drifts
    label = chunk.label[np.argsort(chunk.raw[:, 0])]
    scorer, explainer = Scorer(version.bundle, threads=1), Explainer(version.bundle)
    scores = scorer.score(raw)
    decisions = [decide(float(score), scorer.thresholds) for score in scores.hybrid]
    alerts = [row for row, decision in enumerate(decisions) if decision != Decision.APPROVE]
    explained = dict(zip(alerts, explainer.explain(raw[alerts], scores.isolation[alerts]), strict=True))
    random, now = Random(3), datetime.now(UTC)
    records = []
    for row in range(rows):
        received_at = now - timedelta(hours=23.9) * (1 - row / rows)
        prediction_id = _id_at(received_at, random)
        drawn = drawn_for_review([prediction_id], SAMPLE_RATE)
        records.append(
            DecisionRecord(
                prediction_id=prediction_id,
                received_at=received_at,
                contract=KeptContract.of(version.bundle.manifest.contract),
                inputs=tuple(raw[row].tolist()),
                isolation_score=float(scores.isolation[row]),
                boosted_score=float(scores.boosted[row]),
                hybrid_score=float(scores.hybrid[row]),
                fraud_probability=float(scores.probability[row]),
                alert_threshold=scorer.thresholds.alert,
                decline_threshold=scorer.thresholds.decline,
                decision=str(decisions[row]),
                model_version=str(version.number),
                bundle_digest=version.bundle.digest,
                latency_ms=random.lognormvariate(1, 0.4) + 2 * np.sin(row / rows * 6) ** 2,
                request_id=f"req_{row}",
                transaction_id=f"card-{row}",
                reasons=[dict(reason) for reason in explained[row].reasons] if row in explained else None,
                review_rate=1.0 if row in explained else SAMPLE_RATE if drawn else None,
            )
        )
    engine = open_engine(f"sqlite:///{state / 'gateway' / 'decisions.db'}")
    store = DecisionStore(engine)
    store.add(records)
    reviewed = [row for row in range(rows // 3) if records[row].review_rate]
    claimed = [row for row in range(rows // 3) if label[row] and not records[row].review_rate]
    store.label(
        [LabelItem(prediction_id=records[row].prediction_id, label=int(label[row])) for row in (*reviewed, *claimed)],
        "anna",
    )
    store.add_shadow(
        [
            ShadowDecision(r.prediction_id, r.received_at, "2", "d", 0.1, 0.1, 0.1, 0.1, _other(r, random))
            for r in records[::5]
        ]
    )
    engine.dispose()
    return records


def _other(record: DecisionRecord, random: Random) -> str:
    return record.decision if random.random() < 0.98 else "REVIEW"


def _id_at(moment: datetime, random: Random) -> str:
    time, noise = f"{int(moment.timestamp() * 1000):012x}", f"{random.getrandbits(72):018x}"
    return f"{time[:8]}-{time[8:]}-7{noise[:3]}-8{noise[3:6]}-{noise[6:18]}"
