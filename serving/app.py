"""The gateway's application: puts the parts together and does nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from serving.dependencies import Gateway
from serving.description import describe_keys
from serving.direct import DirectPredict
from serving.emf import EmfLines
from serving.guard import Guard
from serving.headers import SecurityHeaders
from serving.live_model import ModelSlot
from serving.metrics import GatewayMetrics
from serving.model_source import ModelSource, connect, released
from serving.problems import install_error_handlers
from serving.rate_limits import RateLimit
from serving.request_log import RequestLog
from serving.request_record import HEADER
from serving.routes import docs, features, feedback, health, metrics, predict, predict_batch, predictions
from serving.settings import GatewaySettings
from serving.watcher import Watcher

if TYPE_CHECKING:
    from serving.decisions import Decisions
    from stores.decisions import DecisionStore


def create_app(
    settings: GatewaySettings, source: ModelSource | None = None, store: "DecisionStore | None" = None
) -> FastAPI:
    """The gateway as an ASGI application; its lifespan runs the watcher and holds the decision store open.

    Parameters
    ----------
    settings : GatewaySettings
    source : ModelSource, optional
        Where live models come from; by default the registry that the settings name.
    store : DecisionStore, optional
        Where decisions are kept; by default the database that the settings name.
    """
    slot = ModelSlot()
    emf = EmfLines(settings.emf_namespace, settings.model_name) if settings.emf_namespace else None
    connected = partial(connect, settings) if source is None else lambda: source
    at_once = partial(released, settings) if source is None else None
    watcher = Watcher(connected, slot, settings.poll_seconds, settings.batch_threads, at_once)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        watcher.start()
        gateway.opened = await to_thread.run_sync(_open_decisions, settings, store)
        gateway.opened.report_to(app.state.metrics)
        async with emf.flushed_every(settings.emf_seconds) if emf else nullcontext():
            yield
        await to_thread.run_sync(gateway.opened.close)
        await to_thread.run_sync(watcher.stop)

    # No docs_url: FastAPI's page would load scripts from a CDN; serving.routes.docs does not.
    app = FastAPI(title="Card-fraud gateway", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.gateway = gateway = Gateway(settings, slot, CapacityLimiter(settings.batch_workers))
    app.state.metrics = GatewayMetrics(slot, emf)
    install_error_handlers(app)
    # Routes are tried in this order, at about 10 microseconds each: the busiest stands first.
    for routes in (predict, predict_batch, feedback, predictions, health, features, metrics, docs):
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
