"""Where the live model comes from: the contract that the watcher relies on, and the real thing behind it."""

from typing import TYPE_CHECKING, Protocol

from ml_project.scorer import Scorer
from serving.settings import GatewaySettings

if TYPE_CHECKING:
    from stores.live import LiveVersion


class ModelSource(Protocol):
    """Names the live version and loads it; see `stores.production.Production` for what each raises."""

    def current(self) -> "LiveVersion | None":
        """The version that ought to answer; None where nothing was ever promoted."""

    def load(self, live: "LiveVersion", threads: int = 0) -> Scorer:
        """A checked scorer of that version."""


def released(settings: GatewaySettings) -> ModelSource:
    """The release pointer alone, which is there at once."""
    from stores.gated import Gated, released_gate
    from stores.live import ReleasedProduction
    from stores.releases import open_releases

    releases = open_releases(settings.releases_uri, settings.s3_endpoint_url)
    source = ReleasedProduction(releases, settings.bundle_cache)
    return Gated(source, released_gate) if settings.require_gate else source


def connect(settings: GatewaySettings) -> ModelSource:
    """The registry, with the release pointer behind it.

    Importing MLflow takes seconds, therefore it happens in here, on the watcher's thread, and not when this module is
    imported: /health answers meanwhile.
    """
    from stores.mlflow_environment import quiet_mlflow

    quiet_mlflow()
    from stores.gated import Gated
    from stores.production import Production
    from stores.registry import Registry
    from stores.releases import open_releases

    registry = Registry(settings.tracking_uri, settings.model_name)
    releases = open_releases(settings.releases_uri, settings.s3_endpoint_url)
    source = Production(registry, releases, settings.bundle_cache)
    return Gated(source, source.gate_of) if settings.require_gate else source
