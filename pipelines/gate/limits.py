"""The gate's limits as data: ``pipelines/gate.yaml``."""

from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ml_project.errors import InvalidInput

GATE_FILE: Final = Path(__file__).parent.parent / "gate.yaml"

Edges = Annotated[tuple[float, ...], Field(min_length=1)]


class GateLimits(BaseModel):
    """What stands in ``gate.yaml``, where each limit is explained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    average_precision_margin: float = Field(ge=0)
    savings_margin: float = Field(ge=0)
    superiority: tuple[Literal["average_precision", "cost"], ...]
    minimum_frauds: int = Field(ge=5)
    replicates: int = Field(ge=200)
    minimum_recall_at_alert_budget: float = Field(ge=0, le=1)
    minimum_recall: float = Field(alias="minimum_recall_at_fpr_0.01", ge=0, le=1)
    maximum_calibration_error: float = Field(gt=0)
    slice_margin: float = Field(ge=0)
    slice_minimum_frauds: int = Field(ge=2)
    amount_bands: Edges
    hour_bands: Edges
    maximum_parity_difference: float = Field(gt=0)
    maximum_latency_ratio: float = Field(gt=0)

    @classmethod
    def load(cls, path: Path = GATE_FILE) -> "GateLimits":
        """Limits from a file.

        Raises
        ------
        InvalidInput
            When the file is not what the gate needs: it must not judge by half its limits.
        """
        try:
            return cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except (OSError, yaml.YAMLError, ValidationError) as error:
            raise InvalidInput(f"The gate's limits in {path} cannot be used: {error}", "Mend the file.") from error
