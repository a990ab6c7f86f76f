"""What a transaction consists of."""

from typing import Any, Final

from fastapi import APIRouter

from ml_project.schema import ENGINEERED_FEATURES, FEATURES, MAX_MAGNITUDE, RAW_FEATURES
from serving.dependencies import GatewayDep
from serving.examples import answer
from serving.live_model import LiveModel
from serving.transactions import Transaction

router = APIRouter(tags=["model"])

_EXAMPLE: Final = {
    "required_features": RAW_FEATURES,
    "engineered_features": ENGINEERED_FEATURES,
    "total_features": len(FEATURES),
    "model_version": "3",
    "features": {
        "Amount": {
            "type": "number",
            "required": True,
            "minimum": 0,
            "maximum": MAX_MAGNITUDE,
            "training_range": {"minimum": 0.0, "maximum": 25691.16},
        }
    },
}


@router.get("/features", responses=answer(_EXAMPLE))
async def features(gateway: GatewayDep) -> dict[str, Any]:
    """Fields to send, fields computed here and, with a model loaded, the ranges that it was trained on."""
    model = gateway.slot.current
    accepted = Transaction.model_json_schema()["properties"]
    ranges = _training_ranges(model) if model else {}
    described = {
        name: {
            "type": "number",
            "required": name in RAW_FEATURES,
            "minimum": accepted[name].get("minimum"),
            "maximum": accepted[name].get("maximum"),
            "training_range": ranges.get(name),
        }
        for name in FEATURES
    }
    return {
        "required_features": RAW_FEATURES,
        "engineered_features": ENGINEERED_FEATURES,
        "total_features": len(FEATURES),
        "model_version": model.version if model else None,
        "features": described,
    }


def _training_ranges(model: LiveModel) -> dict[str, dict[str, Any]]:
    statistics = model.scorer.bundle.manifest.statistics
    columns = zip(FEATURES, statistics.minimum, statistics.maximum, strict=True)
    # The ensemble never sees Time itself, only the hour of day that it falls in.
    return {
        name: {"minimum": low, "maximum": high, **({"unit": "hour of day"} if name == "Time" else {})}
        for name, low, high in columns
    }
