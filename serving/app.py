"""The gateway's application: puts the parts together and does nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Final

from anyio import CapacityLimiter, move_on_after, sleep, to_thread
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.telemetry import TelemetryConfig

from serving.challenger import ChallengerWatcher
from serving.dependencies import Gateway
from serving.description import describe_keys
from serving.direct import DirectPredict
from serving.emf import EmfLines
from serving.guard import Guard
from serving.headers import SecurityHeaders
from serving.live_model import ModelSlot
from serving.metrics import GatewayMetrics
from serving.model_source import BundleSource, ModelSource, connect, connect_challenger, released
from serving.past_promotions import PastPromotions
from serving.problems import install_error_handlers
from serving.rate_limits import RateLimit
from serving.request_log import RequestLog
from serving.request_record import HEADER
from serving.routes import (
    docs,
    features,
    feedback,
    health,
    hooks,
    metrics,
    model,
    page,
    predict,
    predict_batch,
    predictions,
    watch,
)
from serving.settings import GatewaySettings
from serving.shadow import Shadow
from serving.shared_metrics import SharedMetrics
from serving.watcher import Watcher
from serving.watching import Watching

if TYPE_CHECKING:
    from serving.decisions import Decisions
    from stores.decisions import DecisionStore

_MODEL_SECONDS: Final = 15.0
"""How long a worker waits for its model while others answer; without one it would refuse what they can answer."""


def create_app(
    settings: GatewaySettings,
    source: ModelSource | None = None,
    store: "DecisionStore | None" = None,
    shared: SharedMetrics | None = None,
    challenger: BundleSource | None = None,
) -> FastAPI:
    """The gateway as an ASGI application; its lifespan runs the watcher and holds the decision store open.

    Parameters
    ----------
    settings : GatewaySettings
    source : ModelSource, optional
        Where live models come from; by default the registry that the settings name.
    store : DecisionStore, optional
        Where decisions are kept; by default the database that the settings name.
    shared : SharedMetrics, optional
        Where one of several workers finds the metrics of all.
    challenger : BundleSource, optional
        Where challengers come from; by default the same registry.
    """
    slot = ModelSlot()
    emf = EmfLines(settings.emf_namespace, settings.model_name) if settings.emf_namespace else None
    connected = partial(connect, settings) if source is None else lambda: source
    at_once = partial(released, settings) if source is None else None
    watcher = Watcher(connected, slot, settings.poll_seconds, settings.threads, at_once)
    shadow = None
    if settings.shadow_share:
        challenged = partial(connect_challenger, settings) if challenger is None else lambda: challenger
        shadow = Shadow(settings.shadow_share, ChallengerWatcher(challenged, slot, settings.poll_seconds))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        watcher.start()
        gateway.opened = await to_thread.run_sync(_open_decisions, settings, store)
        gateway.opened.report_to(app.state.metrics)
        if shadow is not None:
            shadow.start(gateway.opened.store.add_shadow)
            gateway.opened.shadow = shadow
        if shared is not None and shared.others:
            await _model_or_trouble(slot)
        async with app.state.metrics.refreshed(), emf.flushed_every(settings.emf_seconds) if emf else nullcontext():
            yield
        if limit is not None:
            await limit.close()
        if shadow is not None:
            await to_thread.run_sync(shadow.close)
        await to_thread.run_sync(gateway.opened.close)
        await to_thread.run_sync(watcher.stop)

    # No docs_url: FastAPI's page would load scripts from a CDN; serving.routes.docs does not. Its telemetry looks for
    # OpenTelemetry's providers with every request; ours is in serving.metrics.
    quiet: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
    app = FastAPI(title="Card-fraud gateway", lifespan=lifespan, docs_url=None, redoc_url=None, telemetry=quiet)
    past = PastPromotions(watcher, at_once)
    app.state.gateway = gateway = Gateway(
        settings, slot, CapacityLimiter(settings.batch_workers), watcher.look_now, past, Watching(slot), shadow
    )
    app.state.metrics = GatewayMetrics(slot, emf, shared, shadow)
    install_error_handlers(app)
    # Routes are tried in this order, at about 10 microseconds each: the busiest stands first.
    busy = predict, predict_batch, feedback, predictions, health
    for routes in (*busy, features, model, watch, metrics, hooks, docs, page):
        app.include_router(routes.router)
    describe_keys(app)
    app.add_middleware(DirectPredict, gateway=gateway)
    limit = RateLimit(settings.rate_limit, settings.rate_limit_url) if settings.rate_limit else None
    app.add_middleware(Guard, gateway=gateway, limit=limit)
    # Around the guard: a browser asks for permission without a key, and must be able to read refusals.
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "Content-Type", "X-API-Key", HEADER],
            expose_headers=[HEADER],
        )
    app.add_middleware(RequestLog, metrics=app.state.metrics)
    app.add_middleware(SecurityHeaders, hsts_seconds=settings.hsts_seconds)
    return app


def _open_decisions(settings: GatewaySettings, store: "DecisionStore | None") -> "Decisions":
    from serving.decisions import Decisions  # SQLAlchemy and Alembic: most of a second, not at import

    return Decisions(settings, store)


async def _model_or_trouble(slot: ModelSlot) -> None:
    with move_on_after(_MODEL_SECONDS):
        while slot.current is None and slot.trouble is None:
            await sleep(0.02)
