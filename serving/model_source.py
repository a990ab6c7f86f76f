"""Where the live model comes from: the contract that the watcher relies on, and the real thing behind it."""

from typing import TYPE_CHECKING, Protocol

from ml_project.card import Card
from ml_project.scorer import Scorer
from serving.settings import GatewaySettings

if TYPE_CHECKING:
    from stores.registry import Registry
    from stores.released import LiveVersion, Promotions


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
    from stores.released import Gated, ReleasedProduction, released_gate
    from stores.releases import open_releases

    releases = open_releases(settings.releases_uri, settings.s3_endpoint_url)
    source = ReleasedProduction(releases, settings.bundle_cache)
    return Gated(source, released_gate) if settings.require_gate else source


def connect(settings: GatewaySettings) -> ModelSource:
    """The registry, with the release pointer behind it.

    Importing MLflow takes seconds, therefore it happens in here, on the watcher's thread, and not when this module is
    imported: /health answers meanwhile.
    """
    registry = _registry(settings)
    from stores.history import History
    from stores.production import Production
    from stores.released import Gated
    from stores.releases import open_releases

    releases = open_releases(settings.releases_uri, settings.s3_endpoint_url)
    history = History(settings.tracking_uri, settings.model_name)
    source = Production(registry, releases, settings.bundle_cache, history)
    return Gated(source, source.gate_of) if settings.require_gate else source


def connect_challenger(settings: GatewaySettings) -> BundleSource:
    """The registry's challenger. No gate is asked: what it refused may be shadowed, as nobody is answered by it."""
    registry = _registry(settings)
    from stores.production import Challenger

    return Challenger(registry, settings.bundle_cache)


def _registry(settings: GatewaySettings) -> "Registry":
    from stores.mlflow_client import quiet_mlflow

    quiet_mlflow()
    from stores.registry import Registry

    return Registry(settings.tracking_uri, settings.model_name)
