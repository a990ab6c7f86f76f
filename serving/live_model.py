"""The model that answers now: one immutable reference, exchanged in one step, and the sources that models come from.

A request reads the reference once and keeps what it got, so that a swap never mixes two versions inside an answer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ml_project.card import Card
from ml_project.contract import Contract
from ml_project.errors import InvalidInput
from ml_project.reasons import Explainer
from ml_project.scorer import BATCH_ROWS, Scorer
from serving.errors import NoModel
from serving.settings import GatewaySettings
from serving.transactions import TransactionParser
from stores.decisions import KeptContract

if TYPE_CHECKING:
    from stores.registry import Registry
    from stores.released import LiveVersion, Promotions


_WARM_UP_SINGLES = 20
_WARM_UP_BATCHES = 3


@dataclass(frozen=True, slots=True)
class LiveModel:
    """A scorer, what explains its scores, the version that both belong to and, once it was found, its model card."""

    scorer: Scorer
    explainer: Explainer
    live: "LiveVersion"
    loaded_at: datetime
    card: Card | None = None
    contract: Contract = field(init=False)
    """What a transaction is."""
    version: str = field(init=False)
    """The registry's version number, as clients see it."""
    parser: TransactionParser = field(init=False)
    """Of the transactions that the scorer takes."""
    kept_contract: KeptContract = field(init=False)
    """The contract as it is kept with decisions."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "contract", self.scorer.contract)
        object.__setattr__(self, "version", str(self.live.version))
        object.__setattr__(self, "parser", TransactionParser(self.contract))
        object.__setattr__(self, "kept_contract", KeptContract.of(self.contract))


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why the gateway could not follow the registry, and since when."""

    message: str
    since: datetime


class ModelSlot:
    """Holds the live model. The follower alone writes, any number of requests read: assignments are atomic."""

    def __init__(self) -> None:
        self.current: LiveModel | None = None
        self.trouble: Trouble | None = None
        self.swaps = {"live": 0, "refused": 0, "failed": 0}
        """How attempts to go live ended: refused is a bundle that failed its checks, failed anything else."""

    def model(self) -> LiveModel:
        """The live model; a request asks once and keeps what it got.

        Raises
        ------
        NoModel
            While there is none.
        """
        model = self.current
        if model is None:
            trouble = self.trouble
            reason = trouble.message if trouble else "The gateway has just started and looks for one."
            raise NoModel("No model is loaded yet.", reason)
        return model


def warm_up(scorer: Scorer) -> None:
    """Let ONNX Runtime allocate and start its threads before the first client waits for them."""
    rows = np.array([row.values for row in scorer.bundle.manifest.golden_rows])
    for _ in range(_WARM_UP_SINGLES):
        scorer.score(rows[:1])
    batch = np.resize(rows, (16 * BATCH_ROWS, rows.shape[1]))
    for _ in range(_WARM_UP_BATCHES):
        scorer.score(batch)


class BundleSource(Protocol):
    """Names a version and loads it; see `stores.production` for what each raises."""

    def current(self) -> "LiveVersion | None":
        """The version that ought to answer; None where nothing was ever promoted."""

    def load(self, live: "LiveVersion", threads: int = 0) -> Scorer:
        """A checked scorer of that version."""


class ModelSource(BundleSource, Protocol):
    """What answers, and what is known about it."""

    def card(self, live: "LiveVersion") -> Card | None:
        """The version's model card; None where it has none."""

    def promotions(self) -> "Promotions":
        """How it came to answer."""


def released(settings: GatewaySettings) -> ModelSource:
    """The release pointer alone, which is there at once."""
    from stores.released import ReleasedProduction, released_gate
    from stores.releases import open_releases

    releases = open_releases(settings.releases, settings.s3_endpoint_url)
    source = ReleasedProduction(releases, settings.bundle_cache, settings.model_name, settings.trial.run)
    return _guarded(source, released_gate, settings)


def connect(settings: GatewaySettings) -> ModelSource:
    """The registry, with the release pointer behind it; the pointer alone where no MLflow server is set.

    Importing MLflow takes seconds, therefore it happens in here, on the follower's thread, and not when this module is
    imported: /health answers meanwhile.
    """
    if not settings.mlflow_server:
        return released(settings)
    registry = _registry(settings)
    from stores.history import History
    from stores.production import Production
    from stores.releases import open_releases

    releases = open_releases(settings.releases, settings.s3_endpoint_url)
    history = History(settings.mlflow_server, settings.model_name)
    source = Production(registry, releases, settings.bundle_cache, history, settings.trial.run)
    return _guarded(source, source.gate_of, settings)


def _guarded(
    source: ModelSource, gate_of: Callable[["LiveVersion"], Mapping[str, object]], settings: GatewaySettings
) -> ModelSource:
    """Behind each door through which a bundle comes: what the gate said, and what the promotion signed."""
    from stores.released import gated, signed

    if settings.require_gate:
        source = gated(source, gate_of)
    return signed(source, settings.trust, settings.model_name) if settings.trust else source


def connect_challenger(settings: GatewaySettings) -> BundleSource:
    """The registry's challenger. A version that the gate refused may shadow, as it answers no request.

    Where keys are trusted, the promotion must have signed it all the same: its files are loaded into the gateway.

    Raises
    ------
    InvalidInput
        Without an MLflow server: the release pointer names no challenger.
    """
    if not settings.mlflow_server:
        raise InvalidInput("Challengers are found through MLflow, and no server is set.", "Set FRAUD_TRACKING_URI.")
    registry = _registry(settings)
    from stores.production import Challenger

    return Challenger(registry, settings.bundle_cache, settings.trial.run, settings.trust)


def _registry(settings: GatewaySettings) -> "Registry":
    from stores.mlflow_client import quiet_mlflow

    quiet_mlflow()
    from stores.registry import Registry

    return Registry(settings.mlflow_server, settings.model_name)
