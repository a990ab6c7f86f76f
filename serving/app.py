"""The gateway's application: puts the parts together and does nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from serving.dependencies import Gateway
from serving.live_model import ModelSlot
from serving.model_source import ModelSource, connect
from serving.problems import install_error_handlers
from serving.request_log import RequestLog
from serving.request_record import HEADER
from serving.routes import features, health, predict, predict_batch
from serving.settings import GatewaySettings
from serving.watcher import Watcher


def create_app(settings: GatewaySettings, source: ModelSource | None = None) -> FastAPI:
    """The gateway as an ASGI application; its lifespan runs the watcher.

    Parameters
    ----------
    settings : GatewaySettings
    source : ModelSource, optional
        Where live models come from; by default the registry that the settings name.
    """
    slot = ModelSlot()
    connected = partial(connect, settings) if source is None else lambda: source
    watcher = Watcher(connected, slot, settings.poll_seconds, settings.batch_threads)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        watcher.start()
        yield
        await to_thread.run_sync(watcher.stop)

    # No docs_url: FastAPI's page would load scripts from a CDN. /openapi.json has the same facts.
    app = FastAPI(title="Card-fraud gateway", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.gateway = Gateway(settings, slot, CapacityLimiter(settings.batch_workers))
    install_error_handlers(app)
    # Routes are tried in this order, at about 10 microseconds each: the busiest stands first.
    for routes in (predict, predict_batch, health, features):
        app.include_router(routes.router)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["Content-Type", HEADER],
            expose_headers=[HEADER],
        )
    app.add_middleware(RequestLog)
    return app
