"""The fitted model behind the simulator: rows of V1..V28 and Amount given each row's class and hour of day.

A Gaussian-mixture copula (Tewari, Giering and Raghunathan 2011; Nelsen 2006 on copulas): a row draws a component by
class and hour, the component gives correlated normal scores, and a monotone table per column turns a score into a
value. ``benchmarks/fit_simulator.py`` fits it; the parameters hold no row of the data set.
"""

import json
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

HOURS: Final = 24
COMPONENTS: Final = tuple(f"V{number}" for number in range(1, 29))
_COLUMNS: Final = len(COMPONENTS) + 1
_PARAMETERS: Final = Path(__file__).with_name("simulator_parameters.json")


@dataclass(frozen=True)
class Family:
    """The tables that turn normal scores into values, for one family of components.

    Attributes
    ----------
    tables : (28, nodes) float32
        Values of V1..V28 at scores spread evenly over [-z_limit, z_limit].
    amount_z, amount : (m,)
        Scores and values of Amount's nodes: a mass point is a stretch of equal values.
    z_limit : float
    """

    tables: NDArray[np.float32]
    amount_z: Floats
    amount: Floats
    z_limit: float

    def values(self, column: int, z: NDArray[np.float32]) -> Floats | NDArray[np.float32]:
        """Values of one column (0 is V1, 28 is Amount) at the scores ``z``."""
        if column == len(self.tables):
            return np.interp(z, self.amount_z, self.amount)
        # The nodes are evenly spaced: the place of a score is computed, not searched for.
        table = self.tables[column]
        position = (z + np.float32(self.z_limit)) * np.float32((len(table) - 1) / (2 * self.z_limit))
        np.clip(position, 0, len(table) - 1.001, out=position)
        left = position.astype(np.intp)
        position -= left
        start = table[left]
        values: NDArray[np.float32] = start + position * (table[left + 1] - start)
        return values


@dataclass(frozen=True)
class SimulatorModel:
    """The mixture's components, who draws them when, and how their scores become values.

    Attributes
    ----------
    mean : (k, 29) float32
    cholesky : (k, 29, 29) float32
        Lower factors of the components' covariances.
    legitimate_components : int
        The first components are of the legitimate family, the others of the fraud family.
    choice : (2, 24, k)
        Probability of each component by class and hour of day. Hidden frauds draw legitimate components and suspect
        legitimate rows fraud components: that is the overlap of the classes.
    rate : (2, 24)
        Arrivals by class and hour of day, relative to the class's daily mean.
    standard_deviation : (29,)
        Of V1..V28 and Amount in the whole data set.
    families : (Family, Family)
        Legitimate, fraud.
    """

    mean: NDArray[np.float32]
    cholesky: NDArray[np.float32]
    legitimate_components: int
    choice: Floats
    rate: Floats
    standard_deviation: Floats
    families: tuple[Family, Family]

    def choose(self, label: NDArray[np.int8], hour: Indices, rng: np.random.Generator) -> Indices:
        """A component for each row, by its class and hour of day."""
        # One search for all rows: class c and hour h own [24c + h, 24c + h + 1) of the flattened cumulatives.
        cell = label.astype(np.int64) * HOURS + hour
        cumulative = np.cumsum(self.choice, axis=2)
        cumulative /= cumulative[:, :, -1:]
        edges = (cumulative + np.arange(2 * HOURS).reshape(2, HOURS, 1)).ravel()
        count = self.choice.shape[2]
        found = np.searchsorted(edges, cell + rng.random(len(cell)), side="right") - cell * count
        component: Indices = np.clip(found, 0, count - 1)
        return component

    def open_fraud(self, rng: np.random.Generator) -> int:
        """One component of the fraud family, by its share of all open frauds."""
        share = (self.choice[1] * self.rate[1][:, None]).sum(axis=0)[self.legitimate_components :]
        return self.legitimate_components + int(rng.choice(len(share), p=share / share.sum()))

    def draw(self, component: Indices, rng: np.random.Generator) -> Floats:
        """Values (n, 29) of V1..V28 and Amount for rows of the given components (n,); Amount is not yet rounded."""
        order = np.argsort(component, kind="stable")
        edges = np.searchsorted(component[order], np.arange(len(self.mean) + 1))
        scores = rng.standard_normal((_COLUMNS, len(component)), dtype=np.float32)
        for k, (low, high) in enumerate(pairwise(edges)):
            if low < high:
                scores[:, low:high] = self.cholesky[k] @ scores[:, low:high] + self.mean[k][:, None]
        values = np.empty((len(component), _COLUMNS))
        split = edges[self.legitimate_components]
        for family, rows in zip(self.families, (slice(None, split), slice(split, None)), strict=True):
            for column in range(_COLUMNS):
                values[order[rows], column] = family.values(column, scores[column, rows])
        return values


@cache
def load() -> SimulatorModel:
    """The parameters that ship with the package."""
    parameters = json.loads(_PARAMETERS.read_text(encoding="utf-8"))
    mean = np.array(parameters["mean"], dtype=np.float32)
    cholesky = np.zeros((len(mean), _COLUMNS, _COLUMNS), dtype=np.float32)
    cholesky[(slice(None), *np.tril_indices(_COLUMNS))] = parameters["cholesky"]
    by_class = ("legitimate", "fraud")
    return SimulatorModel(
        mean=mean,
        cholesky=cholesky,
        legitimate_components=parameters["legitimate_components"],
        choice=np.array([parameters["choice"][name] for name in by_class]),
        rate=np.array([parameters["rate"][name] for name in by_class]),
        standard_deviation=np.array(parameters["standard_deviation"]),
        families=(_family(parameters, "legitimate"), _family(parameters, "fraud")),
    )


def _family(parameters: dict[str, Any], name: str) -> Family:
    tables = parameters[name]
    return Family(
        tables=np.array(tables["tables"], dtype=np.float32),
        amount_z=np.array(tables["amount_z"]),
        amount=np.array(tables["amount"]),
        z_limit=parameters["z_limit"],
    )
