"""The API's page: Swagger UI out of a Python package, because a page of a bank loads nothing from elsewhere."""

from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import FileResponse
from starlette.exceptions import HTTPException
from swagger_ui_bundle import swagger_ui_path  # type: ignore[import-untyped]

from serving.headers import CONTENT_SECURITY_POLICY

router = APIRouter(include_in_schema=False)

_OURS: Final = Path(__file__).parents[1] / "static"
_ASSETS: Final = {
    "docs.js": _OURS / "docs.js",
    **{name: Path(swagger_ui_path) / name for name in ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")},
}
# Swagger UI's style sheet holds its icons as data: addresses.
_POLICY: Final = f"{CONTENT_SECURITY_POLICY}; img-src 'self' data:"


@router.get("/docs")
async def page() -> FileResponse:
    """Swagger UI over /openapi.json."""
    return FileResponse(_OURS / "docs.html", headers={"Content-Security-Policy": _POLICY})


@router.get("/docs/assets/{name}")
async def asset(name: str) -> FileResponse:
    """One of the page's files; nothing else of the package can be asked for."""
    if name not in _ASSETS:
        raise HTTPException(404)
    return FileResponse(_ASSETS[name], headers={"Cache-Control": "public, max-age=3600"})
