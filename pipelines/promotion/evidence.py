"""Everything that the gate looks at: `gather` reads and measures it, the checks only compare values.

The latency of one row is measured as a ratio, since seconds say more about the machine than about the model. Candidate
and reference are timed in turns within one process, so that whatever slows the machine slows both. A round's figure is
the median of its calls, the ratio is the median over the rounds, and a ratio that is too high is measured again: noise
passes, a slow model stays slow.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from ml_project.bundle import Bundle
from ml_project.contract_file import contract_named
from ml_project.dataset import Dataset
from ml_project.engine import LocalEngine
from ml_project.errors import InvalidBundle, InvalidInput
from ml_project.fitting import fit_twin
from ml_project.policies import Thresholds
from ml_project.reference_models import SEED_RECIPE
from ml_project.scorer import Scorer, Scores
from ml_project.simulator import simulate
from ml_project.split import MIN_FRAUDS, split_by_time
from pipelines.promotion.mover import SIMULATED
from pipelines.settings import PipelineSettings
from pipelines.tracking import Run, Tracker
from pipelines.training.model_logging import MODEL_URI_TAG, TWIN, read_logged_model, read_run_bundle
from pipelines.training.train import TEST_ROWS
from stores.bundle_trial import USUAL, TrialLimits
from stores.registry import DIGEST_TAG, ModelVersion

if TYPE_CHECKING:
    from pipelines.promotion.report import GateLimits


@dataclass(frozen=True)
class Champion:
    """The version in Production.

    Attributes
    ----------
    twin : Bundle or None
        None where its run holds none, as with a version that was registered by hand.
    source : str
        Where its data came from; empty if unknown.
    signature : str or None
        Its pyfunc signature as JSON; None where it cannot be read.
    """

    number: int
    twin: Bundle | None
    source: str
    signature: str | None


@dataclass(frozen=True)
class ShippedBundle:
    """The candidate's bundle as a gateway would fetch it, and what it was measured at.

    Attributes
    ----------
    bundle : Bundle or None
        None where it cannot be used; ``problem`` then says why, and the figures below are meaningless.
    golden_difference : float
        Largest difference of its golden rows' scores from what training wrote.
    latency_ratio : float
        Time for one row in units of the reference forest's.
    """

    expected_digest: str
    signature: str
    bundle: Bundle | None
    problem: str = ""
    golden_difference: float = float("nan")
    latency_ratio: float = float("nan")


@dataclass(frozen=True)
class TwinComparison:
    """Both twins on rows that neither has seen."""

    number: int
    rows: Dataset
    candidate: Scores
    champion: Scores
    candidate_thresholds: Thresholds
    champion_thresholds: Thresholds


@dataclass(frozen=True)
class Evidence:
    """A candidate and the champion.

    Attributes
    ----------
    parity : float or None
        Largest difference between the ONNX graphs' scores and the libraries', as training measured it.
    twin : Bundle
        Its finished evaluation twin.
    test : Dataset
        Its test rows, raw.
    card_entity : str or None
        The entity that card precision is about; None without one, or where the test rows do not name it.
    cards_per_day : int
        Of card precision.
    validated : bool or None
        How the newest validation of its data ended; None where there was none.
    """

    parity: float | None
    review_cost: float | None
    alerts_per_day: float
    twin: Bundle
    test: Dataset
    shipped: ShippedBundle
    validated: bool | None
    champion: Champion | None
    card_entity: str | None = None
    cards_per_day: int = 0

    @property
    def source(self) -> str:
        """Where the candidate's data came from."""
        return str(self.twin.manifest.data["source"])

    @cached_property
    def scores(self) -> Scores:
        """The candidate twin's scores on its test rows."""
        return Scorer(self.twin).score(self.test.raw)

    @property
    def same_trees(self) -> bool:
        """Whether candidate and champion differ in their manifests alone, thresholds above all."""
        twin = self.champion.twin if self.champion else None
        return twin is not None and (twin.onnx, twin.booster) == (self.twin.onnx, self.twin.booster)

    @cached_property
    def unseen(self) -> NDArray[np.intp]:
        """Numbers of the test rows that the champion's twin has not seen either; none without such a twin."""
        twin = self.champion.twin if self.champion else None
        return np.arange(0) if twin is None else unseen_by(self.test, twin, self.source)

    @cached_property
    def comparison(self) -> TwinComparison | None:
        """None without a champion's twin, for one of another schema, or with too few frauds left to compare by."""
        champion = self.champion
        rows = self.test.take(self.unseen)
        if champion is None or champion.twin is None or rows.frauds < MIN_FRAUDS:
            return None
        mine, theirs = self.twin.manifest.contract, champion.twin.manifest.contract
        if mine.refuses_of(theirs):
            return None
        return TwinComparison(
            champion.number,
            rows,
            Scores(*(getattr(self.scores, name)[self.unseen] for name in Scores.__dataclass_fields__)),
            Scorer(champion.twin).score(theirs.translated(rows.raw, mine)),
            self.twin.manifest.thresholds,
            champion.twin.manifest.thresholds,
        )


def unseen_by(test: Dataset, champion_twin: Bundle, source: str) -> NDArray[np.intp]:
    """Numbers of the test rows later than all that the champion's twin saw; all where its rows were of another kind."""
    seen = champion_twin.manifest.data
    if (seen["source"] == SIMULATED) != (source == SIMULATED):
        return np.arange(len(test))
    return np.flatnonzero(test.moment > seen["seen_until"])


def gather(
    tracker: Tracker,
    run: Run,
    champion: ModelVersion | None,
    limits: "GateLimits",
    trial: TrialLimits = USUAL,
) -> Evidence:
    """Evidence of a finished run and of the version in Production; the run's model is scored under ``trial`` first."""
    data, twin = run.data.data, read_run_bundle(run, TWIN)
    test, entity = Dataset.from_frame(run.frame(TEST_ROWS), twin.manifest.contract), data.params.get("card_entity")
    return Evidence(
        parity=data.metrics.get("parity_max_difference"),
        review_cost=None if twin.manifest.contract.amount is None else _parameter(data.params, "review_cost"),
        alerts_per_day=_parameter(data.params, "alerts_per_day"),
        twin=twin,
        test=test,
        shipped=_shipped(tracker, data.tags, limits.maximum_latency_ratio, trial),
        validated=_validated(tracker, run, twin.manifest.data["digest"]),
        champion=_champion(tracker, champion) if champion else None,
        card_entity=entity if entity in test.entities else None,
        cards_per_day=int(_parameter(data.params, "cards_per_day")),
    )


def _parameter(params: dict[str, str], name: str) -> float:
    return float(params.get(name, PipelineSettings.model_fields[name].default))


def _shipped(tracker: Tracker, tags: dict[str, str], maximum_latency_ratio: float, trial: TrialLimits) -> ShippedBundle:
    expected = tags.get(DIGEST_TAG, "")
    try:
        bundle, signature = read_logged_model(tracker.client, tags[MODEL_URI_TAG], expected)
        trial.run_bundle(bundle)
        difference = Scorer(bundle, threads=1).replay_golden_rows()
    except (InvalidBundle, InvalidInput) as error:
        return ShippedBundle(expected, "", None, error.cause)
    ratio = latency_ratio(bundle, maximum_latency_ratio)
    return ShippedBundle(expected, signature, bundle, "", difference, ratio)


def _validated(tracker: Tracker, run: Run, digest: str) -> bool | None:
    """Found by the data's digest, since validation as a separate step has another parent run."""
    found = tracker.client.search_runs(
        [run.experiment_id],
        filter_string=f"tags.kind = 'validation' and tags.`data.digest` = '{digest}'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    return found[0].data.tags.get("validation.passed") == "True" if found else None


def _champion(tracker: Tracker, version: ModelVersion) -> Champion:
    source = version.source
    try:
        run = tracker.run(version.run_id)
        twin = read_run_bundle(run, TWIN)
    except (InvalidInput, InvalidBundle):
        return Champion(version.version, None, source, None)
    source = str(twin.manifest.data["source"])
    try:
        _, signature = read_logged_model(tracker.client, run.data.data.tags[MODEL_URI_TAG])
    except (InvalidInput, InvalidBundle, KeyError):
        return Champion(version.version, twin, source, None)
    return Champion(version.version, twin, source, signature)


ROUNDS, CALLS, ATTEMPTS = 15, 100, 3
_REFERENCE_ROWS: Final = 4_000


def reference_bundle() -> Bundle:
    """The seed's recipe, 100 + 100 trees, on fixed simulated rows."""
    (chunk,) = simulate(_REFERENCE_ROWS, seed=0, fraud_rate=0.05)
    rows = Dataset(contract_named(), chunk.raw, chunk.label, np.ones(len(chunk.label)), chunk.raw[:, 0])
    return fit_twin(split_by_time(rows), SEED_RECIPE, LocalEngine(), {"source": "simulated", "digest": ""}).bundle


def latency_ratio(bundle: Bundle, enough: float) -> float:
    """Time for one row in units of the reference's.

    Parameters
    ----------
    enough : float
        A ratio that is low enough; above it the measurement is repeated, and the lowest counts.
    """
    candidate, reference = Scorer(bundle, threads=1), Scorer(reference_bundle(), threads=1)
    raw = bundle.manifest.golden_rows[-1].values[None]
    theirs = reference.bundle.manifest.golden_rows[-1].values[None]
    rows = bundle.manifest.transform(raw), reference.bundle.manifest.transform(theirs)
    return lowest_of(lambda: _ratio(candidate, reference, *rows), enough)


def lowest_of(measure: Callable[[], float], enough: float, attempts: int = ATTEMPTS) -> float:
    """The lowest of up to ``attempts`` measurements; stops at the first that is low enough."""
    lowest = float("inf")
    for _ in range(attempts):
        lowest = min(lowest, measure())
        if lowest <= enough:
            break
    return lowest


def _ratio(candidate: Scorer, reference: Scorer, features: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    return median(_seconds(candidate, features) / _seconds(reference, theirs) for _ in range(ROUNDS))


def _seconds(scorer: Scorer, features: NDArray[np.float32]) -> float:
    taken = []
    for _ in range(CALLS):
        started = time.perf_counter()
        scorer.score_features(features)
        taken.append(time.perf_counter() - started)
    return median(taken)
