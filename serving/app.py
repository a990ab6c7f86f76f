"""The gateway's composition root: from settings to the application, in one place and one direction.

`create_app` builds the parts in the order in which they need each other and hands each what it needs. What has to be
opened and closed is opened and closed by the application's lifespan.
"""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from copy import deepcopy
from functools import partial
from typing import Any, Final

from anyio import CapacityLimiter, move_on_after, sleep, to_thread
from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.telemetry import TelemetryConfig

from ml_project.contract import Contract
from serving.access import Access, rate_limit, scope_of
from serving.decisions import Decisions
from serving.errors import install_error_handlers, problem_responses
from serving.gateway import Gateway
from serving.large_bodies import Budget, DiskBudget
from serving.live_model import BundleSource, ModelSlot, ModelSource, connect, connect_challenger, released
from serving.middleware import DirectPredict, Guard, HeadAsGet, RequestLog, SecurityHeaders
from serving.model_follower import ModelFollower
from serving.routes import dashboard, events, model, operations, pages, predict, review
from serving.routes.dashboard import Dashboard
from serving.routes.examples import with_inputs
from serving.routes.model import PastPromotions
from serving.settings import GatewaySettings
from serving.shadow import Shadow
from serving.telemetry.emf import EmfLines
from serving.telemetry.metrics import GatewayMetrics
from serving.telemetry.multiprocess import SharedMetrics
from serving.telemetry.request import HEADER
from serving.transactions import TransactionParser
from serving.turns import Turns
from stores.decisions import DecisionStore, open_store

Wiring = Callable[[Callable[[], None]], Callable[[], None]]
"""Takes what makes this process look at the registry, gives what makes all of them look."""

_MODEL_SECONDS: Final = 15.0
"""How long a worker waits for its model while others answer; without one it would refuse what they can answer."""

_SCHEMES: Final[dict[str, Any]] = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer", "description": "The same keys, as clients of OAuth send them."},
}


def create_app(
    settings: GatewaySettings,
    source: ModelSource | None = None,
    store: DecisionStore | None = None,
    shared: SharedMetrics | None = None,
    challenger: BundleSource | None = None,
    wire: Wiring = lambda look: look,
) -> FastAPI:
    """The gateway as an ASGI application; its lifespan follows the registry and holds the decision store open.

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
    wire : callable, optional
        Connects the webhook to the other workers.

    Raises
    ------
    FraudError
        When a setting cannot be used, by name. A database that does not answer is waited for later.
    """
    contract = settings.data_contract
    slot = ModelSlot()
    connected = partial(connect, settings) if source is None else lambda: source
    at_once = partial(released, settings) if source is None else None
    follower = ModelFollower(connected, slot, contract, settings.poll_seconds, settings.threads, at_once)
    shadow = _shadow(settings, slot, challenger)
    limit = rate_limit(settings)
    decisions = Decisions(settings, store or open_store(settings.decisions_url, wait=True), shadow)
    emf = EmfLines(settings.emf_namespace, settings.model_name) if settings.emf_namespace else None
    metrics = GatewayMetrics(slot, emf, shared, shadow, decisions.figures)
    access = Access(settings, decisions.keys, decisions.prepared, limit)
    gateway = Gateway(
        settings,
        slot,
        decisions,
        Turns(decisions),
        metrics,
        CapacityLimiter(settings.batch_workers),
        CapacityLimiter(settings.batch_workers),
        Budget(settings.body_memory_bytes),
        DiskBudget(settings.upload_disk_bytes, settings.gateway_dir, settings.upload_reserve_bytes),
        wire(follower.look_now),
        PastPromotions(follower, at_once),
        Dashboard(slot, contract.contract),
        shadow,
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        follower.start()
        await to_thread.run_sync(decisions.open)
        if shadow is not None:
            shadow.start(decisions.store.add_shadow)
        if shared is not None and shared.others:
            await _model_or_trouble(slot)
        lines = emf.written(settings.emf_seconds, metrics.present) if emf else nullcontext()
        async with metrics.refreshed(), lines:
            yield
        if limit is not None:
            await limit.close()
        if shadow is not None:
            await to_thread.run_sync(shadow.close)
        await to_thread.run_sync(decisions.close)
        await to_thread.run_sync(follower.stop)

    # No docs_url: FastAPI's page would load scripts from a CDN; serving.routes.pages does not. Its telemetry looks for
    # OpenTelemetry's providers with every request; the gateway's is in serving.telemetry.
    quiet: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
    app = FastAPI(title="Card-fraud gateway", lifespan=lifespan, docs_url=None, redoc_url=None, telemetry=quiet)
    app.router.redirect_slashes = False  # to whatever Host says; serving.routes.pages has relative ones
    app.state.gateway = gateway
    install_error_handlers(app)
    # Routes are tried in this order, at about 10 microseconds each: the busiest stands first.
    for routes in (predict, review, events, operations, model, dashboard, pages):
        app.include_router(routes.router)
    describe_keys(app)
    describe_contract(app, slot, contract)
    # Each is put around the ones before it.
    app.add_middleware(HeadAsGet)
    app.add_middleware(Guard, access=access)
    # Around the guard: a browser asks for permission without a key, and must be able to read refusals.
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            # Those of tracers, of frameworks, and of what is invented next: they give no rights, keys do.
            allow_headers=["*"],
            expose_headers=[HEADER],
        )
    app.add_middleware(RequestLog, metrics=metrics)
    app.add_middleware(SecurityHeaders, hsts_seconds=settings.hsts_seconds)
    # Around FastAPI's own layers, too: the busiest route needs none of them.
    app.middleware_stack = DirectPredict(app.build_middleware_stack(), gateway, access)
    return app


def _shadow(settings: GatewaySettings, champion: ModelSlot, challenger: BundleSource | None) -> Shadow | None:
    if not settings.shadow_share:
        return None
    connected = partial(connect_challenger, settings) if challenger is None else lambda: challenger
    contract = settings.data_contract
    follower = ModelFollower(connected, ModelSlot(), contract, settings.poll_seconds, threads=1, champion=champion)
    return Shadow(settings.shadow_share, follower)


async def _model_or_trouble(slot: ModelSlot) -> None:
    with move_on_after(_MODEL_SECONDS):
        while slot.current is None and slot.trouble is None:
            await sleep(0.02)


def describe_contract(app: FastAPI, slot: ModelSlot, until_then: Contract) -> None:
    """Let the API's description tell the fields of the live model's contract; another's until there is a model."""
    plain = app.openapi
    made: dict[str, dict[str, Any]] = {}

    def openapi() -> dict[str, Any]:
        live = slot.current
        contract = live.contract if live else until_then
        if contract.digest not in made:
            made.clear()
            description = deepcopy(plain())
            parser = live.parser if live else TransactionParser(contract)
            for path, body in predict.request_bodies(parser).items():
                description["paths"][path]["post"]["requestBody"] = body
            for operations in description["paths"].values():
                for operation in operations.values():
                    for answered in operation["responses"].values():
                        for content in answered.get("content", {}).values():
                            if "example" in content:
                                content["example"] = with_inputs(content["example"], contract)
            known = description["paths"]["/features"]["get"]["responses"]["200"]["content"]["application/json"]
            known["example"] = model.features_example(contract)
            made[contract.digest] = description
        return made[contract.digest]

    app.openapi = openapi  # type: ignore[method-assign]


def _heading(description: str) -> str:
    """A description's first clause: Score a batch."""
    return " ".join(re.split(r"[.;:] |[.;:]?\n\n|[.;:]$", description, maxsplit=1)[0].split())


def describe_keys(app: FastAPI) -> None:
    """Let the API's description name the keys and, for every guarded route, how the guard refuses."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            description = plain()
            description["components"]["securitySchemes"] = _SCHEMES
            refusals = {str(status): described for status, described in problem_responses(401, 403, 429, 503).items()}
            for path, operations in description["paths"].items():
                scope = scope_of(path)
                for operation in operations.values():  # in place of the function's name: what the route does
                    operation["summary"] = _heading(operation.get("description", operation["summary"]))
                for operation in operations.values() if scope is not None else ():
                    operation["security"] = [{name: []} for name in _SCHEMES]
                    operation["responses"] = {**refusals, **operation["responses"]}
        return plain()

    app.openapi = openapi  # type: ignore[method-assign]
