"""Fit the simulator's parameters to a sample of the real card transactions.

Run by hand when the model behind the simulator changes; its output, ``ml_project/simulator_parameters.json``, is
committed. The JSON holds quantiles, mixture components and rates, never a row of the data set.

The method is the Gaussian-mixture copula (Tewari, Giering and Raghunathan 2011, "Parametric characterization of
multimodal distributions with non-Gaussian modes", ICDM workshops; Nelsen 2006, "An Introduction to Copulas", for the
theory): every column becomes normal scores, a Gaussian mixture is fitted to the scores, and a monotone table per
column turns the mixture's scores back into values, so that marginals are those of the sample whatever the mixture.
There are two such families, legitimate and fraud. Frauds that cross-validated boosted trees do not tell from
legitimate rows are drawn from legitimate components, and a few legitimate rows from fraud components: without these
two shares a simulated fraud would be far easier to find than a real one.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xgboost
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import StratifiedKFold

from ml_project.operators import SECONDS_PER_DAY
from ml_project.simulator import LABEL
from ml_project.simulator_model import COMPONENTS

Floats = NDArray[np.float64]

COLUMNS = (*COMPONENTS, "Amount")
# The mixture's own tails are wider than a normal's, so its scores go beyond what SMALLEST_P alone would need.
Z_LIMIT, Z_NODES = 7.0, 176
HOURS = 24
SMALLEST_P = 3e-7

LEGITIMATE_COMPONENTS, FRAUD_COMPONENTS = 44, 8
# A fraud below this cross-validated score is one that no threshold of practical precision finds.
HIDDEN_SCORE = 0.003
# Share of legitimate rows drawn from fraud components. Cross-validation finds four such rows in the sample (0.025 %,
# 95 % interval 0.007 to 0.064 %), all less extreme than a draw from a fraud component; the share is therefore set so
# that boosted trees trained and tested on simulated rows, split by time, reach the real data's average precision.
SUSPECT_SHARE = 0.0001
# Pseudo-counts that pull an hour's mixture weights to the overall ones, and a component's covariance to the pooled one.
HOUR_PRIOR, FRAUD_HOUR_PRIOR, COVARIANCE_PRIOR = 20.0, 4.0, 20.0


@dataclass(frozen=True)
class Mixture:
    """A Gaussian mixture over the normal scores of one family's columns.

    Attributes
    ----------
    weight : (k,)
    mean : (k, d)
    covariance : (k, d, d)
    """

    weight: Floats
    mean: Floats
    covariance: Floats

    def marginal_cdf(self, column: int, z: Floats) -> Floats:
        """The mixture's distribution function in one column at the scores ``z``."""
        deviation = np.sqrt(self.covariance[:, column, column])
        return np.asarray(ndtr((z[:, None] - self.mean[:, column]) / deviation) @ self.weight)

    def responsibilities(self, scores: Floats) -> Floats:
        """Posterior probabilities (n, k) of the components given the rows' scores (n, d)."""
        log_density = np.empty((len(scores), len(self.weight)))
        for k, (weight, mean, covariance) in enumerate(zip(self.weight, self.mean, self.covariance, strict=True)):
            cholesky = np.linalg.cholesky(covariance)
            residual = np.linalg.solve(cholesky, (scores - mean).T)
            log_density[:, k] = np.log(weight) - np.log(np.diag(cholesky)).sum() - 0.5 * (residual**2).sum(axis=0)
        density = np.exp(log_density - log_density.max(axis=1, keepdims=True))
        return np.asarray(density / density.sum(axis=1, keepdims=True))


def normal_scores(values: Floats, rng: np.random.Generator) -> Floats:
    """Normal scores column by column; ties (Amount's mass points) are spread evenly over their interval."""
    rows = len(values)
    scores = np.empty_like(values)
    for column in range(values.shape[1]):
        rank = np.empty(rows)
        rank[np.lexsort((rng.random(rows), values[:, column]))] = np.arange(rows)
        scores[:, column] = ndtri((rank + 0.5) / rows)
    return scores


def scores_among(values: Floats, reference: Floats) -> Floats:
    """Normal scores of ``values`` by their place among the rows of ``reference``."""
    scores = np.empty_like(values)
    for column in range(values.shape[1]):
        order = np.sort(reference[:, column])
        middle = (np.searchsorted(order, values[:, column]) + np.searchsorted(order, values[:, column], "right")) / 2
        scores[:, column] = ndtri(np.clip(middle, 0.5, len(order) - 0.5) / len(order))
    return scores


def out_of_fold_scores(features: Floats, label: NDArray[np.int64], weight: Floats, repeats: int = 5) -> Floats:
    """Mean probability of fraud that boosted trees give to each row when trained without it."""
    total = np.zeros(len(label))
    for repeat in range(repeats):
        folds = StratifiedKFold(5, shuffle=True, random_state=repeat)
        for train, held_out in folds.split(features, label):
            model = xgboost.XGBClassifier(n_estimators=100, max_depth=5, learning_rate=0.1, n_jobs=1, random_state=0)
            model.fit(features[train], label[train], sample_weight=weight[train])
            total[held_out] += model.predict_proba(features[held_out])[:, 1]
    return total / repeats


def legitimate_mixture(scores: Floats) -> Mixture:
    """Plain maximum likelihood: there are some 400 rows per component."""
    fitted = GaussianMixture(
        LEGITIMATE_COMPONENTS, reg_covar=2e-3, random_state=0, max_iter=150, tol=2e-3, n_init=1
    ).fit(scores)
    return Mixture(fitted.weights_, fitted.means_, fitted.covariances_)


def fraud_mixture(scores: Floats) -> Mixture:
    """Clusters by a mixture with one common covariance, then each with its own, shrunk to the common one.

    Some 45 rows per component do not determine a 29 x 29 covariance by themselves.
    """
    tied = GaussianMixture(
        FRAUD_COMPONENTS, covariance_type="tied", reg_covar=1e-2, random_state=0, max_iter=300, n_init=10
    ).fit(scores)
    share = tied.predict_proba(scores)
    count = share.sum(axis=0)
    mean = (share.T @ scores) / count[:, None]
    covariance = np.empty((FRAUD_COMPONENTS, scores.shape[1], scores.shape[1]))
    for k in range(FRAUD_COMPONENTS):
        centred = scores - mean[k]
        own = (share[:, k, None] * centred).T @ centred
        covariance[k] = (own + COVARIANCE_PRIOR * tied.covariances_) / (count[k] + COVARIANCE_PRIOR)
    return Mixture(count / len(scores), mean, covariance)


def quantiles(values: Floats, probability: Floats) -> Floats:
    """Sample quantiles, continued beyond the sample's extremes.

    Outside, log|x - median| goes on linearly in the normal score with the slope of the outermost 2 % of rows: a
    log-normal tail, short where the sample's is short (V1 ends at 2.4) and long where it is long. At the last node it
    is at most half as far out again as the sample: the whole data set is seldom farther, and a few frauds fix no slope.
    """
    order = np.sort(values)
    rows = len(order)
    position = (np.arange(rows) + 0.5) / rows
    result = np.interp(probability, position, order)
    median = float(np.median(order))
    anchor = max(rows // 50, 5)
    for sign, outside in ((-1.0, probability < position[0]), (1.0, probability > position[-1])):
        distance = (sign * (order - median))[:: int(sign)]
        score = (sign * ndtri(position))[:: int(sign)]
        slope = np.log(distance[-1] / distance[-anchor]) / (score[-1] - score[-anchor])
        slope = min(slope, np.log(1.5) / (-ndtri(SMALLEST_P) - score[-1]))
        excess = sign * ndtri(probability[outside]) - score[-1]
        result[outside] = median + sign * distance[-1] * np.exp(slope * excess)
    return np.asarray(result)


def amount_nodes(amount: Floats, mixture: Mixture, least_count: int) -> tuple[Floats, Floats]:
    """Nodes (score, value) of Amount: flat stretches for its mass points, quantiles between them."""
    value, count = np.unique(amount, return_counts=True)
    upper = np.cumsum(count) / len(amount)
    lower = np.concatenate([[0.0], upper[:-1]])
    mass = count >= least_count
    grid = np.concatenate([np.linspace(0.005, 0.995, 199), 1 - np.geomspace(0.005, 1.5 / len(amount), 12)])
    chosen = np.unique(np.searchsorted(upper, grid))
    chosen = chosen[~mass[chosen]]
    probability = np.concatenate([lower[mass], upper[mass], (lower[chosen] + upper[chosen]) / 2])
    nodes = np.concatenate([value[mass], value[mass], value[chosen]])
    order = np.lexsort((nodes, probability))
    probability, nodes = probability[order], nodes[order]
    top = 1 - np.geomspace(0.4 / len(amount), SMALLEST_P, 8)
    inside = probability < top[0]
    probability = np.concatenate([probability[inside], top])
    nodes = np.concatenate([nodes[inside], quantiles(amount, top)])
    fine = np.linspace(-Z_LIMIT - 2, Z_LIMIT + 2, 20_001)
    column = COLUMNS.index("Amount")
    return np.interp(probability, mixture.marginal_cdf(column, fine), fine), nodes


def family(values: Floats, mixture: Mixture, least_count: int) -> dict[str, Any]:
    """The tables that turn a family's scores into values."""
    z = np.linspace(-Z_LIMIT, Z_LIMIT, Z_NODES)
    tables = []
    for column in range(len(COMPONENTS)):
        probability = np.clip(mixture.marginal_cdf(column, z), SMALLEST_P, 1 - SMALLEST_P)
        tables.append(rounded(quantiles(values[:, column], probability), 4))
    score, value = amount_nodes(values[:, -1], mixture, least_count)
    return {"tables": tables, "amount_z": rounded(score, 5), "amount": rounded(value, 2)}


def hourly_weights(hour: NDArray[np.int64], share: Floats, prior: float) -> Floats:
    """Mixture weights (24, k) by hour of day from the rows' component shares (n, k)."""
    overall = share.mean(axis=0)
    weights = np.tile(prior * overall, (HOURS, 1))
    np.add.at(weights, hour, share)
    normalised: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return normalised


def hourly_rate(hour: NDArray[np.int64], last_time: float) -> Floats:
    """Rows per hour of day, corrected for how long the sample observed that hour, with mean 1."""
    starts = np.arange(int(np.ceil(last_time / 3600))) * 3600.0
    exposure = np.zeros(HOURS)
    np.add.at(exposure, (starts % SECONDS_PER_DAY // 3600).astype(int), np.minimum(last_time - starts, 3600.0))
    rate = np.bincount(hour, minlength=HOURS) / exposure
    return np.asarray(rate / rate.mean())


def rounded(values: Floats, digits: int) -> Any:
    """A plain list with few digits: they are most of the file's size."""
    return np.round(np.asarray(values, dtype=np.float64), digits).tolist()


def fit(sample: pd.DataFrame) -> dict[str, Any]:
    """Parameters of the simulator from a frame with Time, V1..V28, Amount, Class and Weight."""
    rng = np.random.default_rng(0)
    values = sample[list(COLUMNS)].to_numpy(dtype=np.float64)
    label = sample[LABEL].to_numpy(dtype=np.int64)
    weight = sample["Weight"].to_numpy(dtype=np.float64)
    time = sample["Time"].to_numpy(dtype=np.float64)
    hour = (time % SECONDS_PER_DAY // 3600).astype(np.int64)
    fraud, last_time = label == 1, float(time.max()) + 1

    fraud_score = out_of_fold_scores(values, label, weight)
    hidden = fraud & (fraud_score < HIDDEN_SCORE)
    open_fraud = fraud & ~hidden
    hidden_share = hidden.sum() / fraud.sum()

    legitimate_scores = normal_scores(values[~fraud], rng)
    fraud_scores = normal_scores(values[open_fraud], rng)
    legitimate, frauds = legitimate_mixture(legitimate_scores), fraud_mixture(fraud_scores)

    # Rows of the table: hour of day; columns: the legitimate components, then the fraud components.
    by_hour = hourly_weights(hour[~fraud], legitimate.responsibilities(legitimate_scores), HOUR_PRIOR)
    fraud_by_hour = hourly_weights(hour[open_fraud], frauds.responsibilities(fraud_scores), FRAUD_HOUR_PRIOR)
    disguise = legitimate.responsibilities(scores_among(values[hidden], values[~fraud])).mean(axis=0)
    legitimate_choice = np.hstack([(1 - SUSPECT_SHARE) * by_hour, np.tile(SUSPECT_SHARE * frauds.weight, (HOURS, 1))])
    fraud_choice = np.hstack([np.tile(hidden_share * disguise, (HOURS, 1)), (1 - hidden_share) * fraud_by_hour])

    lower = np.tril_indices(len(COLUMNS))
    covariance = np.concatenate([legitimate.covariance, frauds.covariance])
    mean = np.average(values, axis=0, weights=weight)
    return {
        "source": "Credit Card Fraud Detection, Machine Learning Group ULB, Database Contents License 1.0",
        "columns": list(COLUMNS),
        "standard_deviation": rounded(np.sqrt(np.average((values - mean) ** 2, axis=0, weights=weight)), 5),
        "hidden_share": round(float(hidden_share), 5),
        "suspect_share": SUSPECT_SHARE,
        "z_limit": Z_LIMIT,
        "legitimate_components": LEGITIMATE_COMPONENTS,
        "mean": rounded(np.concatenate([legitimate.mean, frauds.mean]), 3),
        "cholesky": rounded(np.linalg.cholesky(covariance)[:, lower[0], lower[1]], 3),
        "choice": {"legitimate": rounded(legitimate_choice, 7), "fraud": rounded(fraud_choice, 5)},
        "rate": {
            "legitimate": rounded(hourly_rate(hour[~fraud], last_time), 4),
            "fraud": rounded(hourly_rate(hour[fraud], last_time), 4),
        },
        "legitimate": family(values[~fraud], legitimate, least_count=16),
        "fraud": family(values[open_fraud], frauds, least_count=4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit the transaction simulator to a sample of the real data set.")
    parser.add_argument("sample", type=Path, help="Parquet file with Time, V1..V28, Amount, Class and Weight")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(__file__).resolve().parents[1] / "ml_project" / "simulator_parameters.json",
        help="where to write the parameters (default: %(default)s)",
    )
    arguments = parser.parse_args()
    text = json.dumps(fit(pd.read_parquet(arguments.sample)), separators=(",", ":")) + "\n"
    temporary = arguments.output.with_suffix(".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(arguments.output)
    print(f"{arguments.output}: {len(text) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
