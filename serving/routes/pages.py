"""HTML pages: the analysts' and engineers' page, which is the files of ui/ as they are, and the API's own page.

The latter is Swagger UI out of a Python package, because a page of a bank loads nothing from elsewhere.
"""

from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, RedirectResponse
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path  # type: ignore[import-untyped]

from serving.gateway import GatewayDep
from serving.middleware import CONTENT_SECURITY_POLICY

router = APIRouter(include_in_schema=False)

_FOLDER: Final = Path(__file__).parents[2] / "ui"
_FILES: Final = StaticFiles(directory=_FOLDER, check_dir=False)
_SERVED: Final = frozenset({".html", ".css", ".js", ".svg"})
# Modules name each other without hashes: a browser asks whether its copy still holds, and gets 304 by the ETag.
_CACHED: Final = {"Cache-Control": "no-cache"}


@router.get("/")
@router.get("/ui")
async def page(request: Request) -> Response:
    """The page; its views are in the address's fragment."""
    return await _file("index.html", request)


@router.api_route("/{path:path}/", methods=["GET", "POST"])
async def without_slash(request: Request) -> RedirectResponse:
    """Where an address without the slash at its end is; relative, so that it works behind any host and prefix."""
    query = f"?{request.url.query}" if request.url.query else ""
    last = request.scope["raw_path"].decode("ascii").rstrip("/").rpartition("/")[2]
    return RedirectResponse(f"../{last}{query}", 308)


@router.get("/ui/settings.json")
async def settings(gateway: GatewayDep) -> dict[str, str]:
    """The settings that the page needs; there are no secrets in it, because it is served without a key."""
    chosen = gateway.settings
    return {"currency": chosen.currency, "mlflow_page": chosen.mlflow_page, "model_name": chosen.model_name}


@router.get("/ui/{path:path}")
async def file(path: str, request: Request) -> Response:
    """One of the page's files."""
    if Path(path).suffix not in _SERVED:
        raise HTTPException(404)
    return await _file(path, request)


async def _file(path: str, request: Request) -> Response:
    answer = await _FILES.get_response(path, request.scope)
    answer.headers.update(_CACHED)
    return answer


_STATIC: Final = Path(__file__).parents[1] / "static"
_DOCS_ASSETS: Final = {
    "docs.js": _STATIC / "docs.js",
    "docs.css": _STATIC / "docs.css",
    **{name: Path(swagger_ui_path) / name for name in ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")},
}
# Swagger UI's style sheet holds its icons as data: addresses.
_DOCS_POLICY: Final = f"{CONTENT_SECURITY_POLICY}; img-src 'self' data:"


@router.get("/docs")
async def api_page() -> FileResponse:
    """Swagger UI over /openapi.json."""
    return FileResponse(_STATIC / "docs.html", headers={"Content-Security-Policy": _DOCS_POLICY})


@router.get("/docs/assets/{name}")
async def api_asset(name: str) -> FileResponse:
    """One of the page's files; nothing else of the package can be fetched."""
    if name not in _DOCS_ASSETS:
        raise HTTPException(404)
    return FileResponse(_DOCS_ASSETS[name], headers={"Cache-Control": "public, max-age=3600"})
