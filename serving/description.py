"""What the API's description says of every route alike: which of them need a key, and what happens without one."""

from typing import Any, Final

from fastapi import FastAPI

from serving.access import scope_of
from serving.problems import problem_responses

_SCHEMES: Final[dict[str, Any]] = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer", "description": "The same keys, as clients of OAuth send them."},
}


def describe_keys(app: FastAPI) -> None:
    """Let the description name the keys and, for every guarded route, what the guard answers instead of it."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            description = plain()
            description["components"]["securitySchemes"] = _SCHEMES
            refusals = {str(status): said for status, said in problem_responses(401, 403, 429, 503).items()}
            for path, operations in description["paths"].items():
                scope = scope_of(path)
                for operation in operations.values() if scope is not None else ():
                    operation["security"] = [{name: []} for name in _SCHEMES]
                    operation["responses"] = {**refusals, **operation["responses"]}
        return plain()

    app.openapi = openapi  # type: ignore[method-assign]
