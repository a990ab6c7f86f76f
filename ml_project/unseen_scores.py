"""Rows with the scores that a model gave them when it had not seen them: what thresholds and figures come from."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml_project.calibration import Calibrator
from ml_project.dataset import Dataset, span_in_days
from ml_project.ensemble import Ensemble, blend
from ml_project.metrics import RankingCurve, ranking_curve


@dataclass(frozen=True)
class ScoredRows:
    """Arrays of shape (n,) each, ordered by ``moment``; satisfies `dataset.Labelled`."""

    moment: NDArray[np.float64]
    label: NDArray[np.int8]
    weight: NDArray[np.float64]
    amount: NDArray[np.float64]
    isolation: NDArray[np.float64]
    boosted: NDArray[np.float64]
    hybrid: NDArray[np.float64]

    @property
    def days(self) -> float:
        """Days that the rows cover."""
        return span_in_days(float(self.moment[0]), float(self.moment[-1]))

    @property
    def curve(self) -> RankingCurve:
        """What every threshold on the hybrid score would do."""
        return ranking_curve(self.hybrid, self.label, self.weight, self.amount)

    def probability(self, calibrator: Calibrator) -> NDArray[np.float64]:
        """Calibrated probabilities."""
        return calibrator.probability(self.hybrid)

    @classmethod
    def of(cls, data: Dataset, features: NDArray[np.float32], ensemble: Ensemble) -> "ScoredRows":
        """Score a data set's features (n, 37) by a fitted ensemble."""
        isolation, boosted = ensemble.isolation(features), ensemble.boosted(features)
        hybrid = blend(isolation, boosted, ensemble.blend_weight)
        return cls(data.moment, data.label, data.weight, data.amount, isolation, boosted, hybrid)

    @classmethod
    def concatenate(cls, parts: "list[ScoredRows]") -> "ScoredRows":
        """Parts in time order as one."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__dataclass_fields__))

    def to_frame(self) -> pd.DataFrame:
        """One column per array."""
        return pd.DataFrame({name: getattr(self, name) for name in self.__dataclass_fields__})

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> "ScoredRows":
        """The inverse of `to_frame`."""
        return cls(*(frame[name].to_numpy() for name in cls.__dataclass_fields__))
