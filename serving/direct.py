"""The busiest request's way past FastAPI's routing, whose resolving of routes and parameters costs as much as scoring.

The route in `serving.routes.predict` stays the contract and the only implementation: it is called from here when a
request has no parameters to resolve, and by FastAPI otherwise.
"""

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from ml_project.errors import FraudError
from serving.dependencies import Gateway
from serving.problems import problem_of
from serving.request_record import record_of
from serving.routes.predict import predict


class DirectPredict:
    """Answers ``POST /predict`` without a query; everything else passes through."""

    def __init__(self, app: ASGIApp, gateway: Gateway) -> None:
        self._app = app
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] != "/predict" or scope["method"] != "POST" or scope["query_string"]:
            await self._app(scope, receive, send)
            return
        try:
            response = await predict(Request(scope, receive), self._gateway)
        except FraudError as error:
            response = problem_of(error, record_of(scope))
        await response(scope, receive, send)
