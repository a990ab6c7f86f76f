"""An ensemble as one ONNX graph: float32 features in; isolation, boosted, hybrid scores and probability out.

Both forests become ``TreeEnsembleRegressor`` nodes of the ai.onnx.ml domain, written by ourselves: scikit-learn's
forest as a sum of leaf values costs 8 us a row where the general converter's graph costs 1.1 ms (docs/adr/0002).
"""

import json
from dataclasses import dataclass, field

import numpy as np
import onnx
import xgboost as xgb
from numpy.typing import NDArray
from onnx import TensorProto, helper
from sklearn.ensemble import IsolationForest

from ml_project.calibration import CLIP, Calibrator
from ml_project.contract_parts import OUTPUTS
from ml_project.ensemble import Ensemble

_EULER = 0.5772156649015329
_OPSETS = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
_IR_VERSION = 9


@dataclass
class _Trees:
    """Rows of a TreeEnsembleRegressor's attributes; ``add_branch`` and ``add_leaf`` in node order."""

    mode: str
    nodes: dict[str, list[float | int | str]] = field(default_factory=dict)
    leaves: dict[str, list[float | int]] = field(default_factory=dict)

    def _add(self, tree: int, node: int, **values: float | int | str) -> None:
        row = {"treeids": tree, "nodeids": node, "missing_value_tracks_true": 0, **values}
        for name, value in row.items():
            self.nodes.setdefault(name, []).append(value)

    def add_branch(
        self, tree: int, node: int, feature: int, threshold: float, true: int, false: int, missing: bool
    ) -> None:
        """``missing`` says whether a missing value goes the way of ``true``."""
        branch = {"featureids": feature, "values": threshold, "truenodeids": true, "falsenodeids": false}
        self._add(tree, node, modes=self.mode, missing_value_tracks_true=int(missing), **branch)

    def add_leaf(self, tree: int, node: int, value: float) -> None:
        self._add(tree, node, featureids=0, values=0.0, modes="LEAF", truenodeids=0, falsenodeids=0)
        for name, entry in {"treeids": tree, "nodeids": node, "ids": 0, "weights": value}.items():
            self.leaves.setdefault(name, []).append(entry)

    def node(self, output: str, base_value: float = 0.0) -> onnx.NodeProto:
        return helper.make_node(
            "TreeEnsembleRegressor",
            ["features"],
            [output],
            domain="ai.onnx.ml",
            n_targets=1,
            aggregate_function="SUM",
            post_transform="NONE",
            base_values=[base_value],
            **{f"nodes_{name}": values for name, values in self.nodes.items()},
            **{f"target_{name}": values for name, values in self.leaves.items()},
        )


def _float32_not_above(threshold: float) -> float:
    """The largest float32 <= threshold: ``x <= threshold`` then has the same answer for every float32 x."""
    rounded = np.float32(threshold)
    return float(np.nextafter(rounded, np.float32(-np.inf)) if float(rounded) > threshold else rounded)


def mean_path_length(samples: int) -> float:
    """c(n): mean path length of an unsuccessful search among n samples (Liu et al. 2008, equation 1)."""
    if samples <= 2:
        return float(max(samples - 1, 0))
    return 2 * (float(np.log(samples - 1)) + _EULER) - 2 * (samples - 1) / samples


def _isolation_trees(forest: IsolationForest, medians: NDArray[np.float32] | None) -> _Trees:
    """Leaf value = path length / number of trees, so that the sum over trees is the mean path length.

    A missing value goes the way of the feature's median.
    """
    trees = _Trees("BRANCH_LEQ")
    for number, (estimator, columns) in enumerate(zip(forest.estimators_, forest.estimators_features_, strict=True)):
        tree = estimator.tree_
        depth = np.zeros(tree.node_count)
        for node in range(tree.node_count):
            left, right = int(tree.children_left[node]), int(tree.children_right[node])
            if left < 0:
                path = depth[node] + mean_path_length(int(tree.n_node_samples[node]))
                trees.add_leaf(number, node, path / len(forest.estimators_))
                continue
            depth[left] = depth[right] = depth[node] + 1
            threshold = _float32_not_above(float(tree.threshold[node]))
            feature = int(columns[tree.feature[node]])
            missing = medians is not None and float(medians[feature]) <= threshold
            trees.add_branch(number, node, feature, threshold, left, right, missing)
    return trees


def _boosted_trees(booster: xgb.Booster, missing: bool) -> tuple[_Trees, float]:
    """Trees and base margin of a binary booster, read from XGBoost's own JSON model; ``missing``: values may be."""
    learner = json.loads(bytes(booster.save_raw("json")))["learner"]
    base = np.atleast_1d(json.loads(learner["learner_model_param"]["base_score"]))[0]
    trees = _Trees("BRANCH_LT")
    for number, tree in enumerate(learner["gradient_booster"]["model"]["trees"]):
        names = ("left_children", "right_children", "split_indices", "split_conditions", "default_left")
        columns = zip(*(tree[name] for name in names), strict=True)
        for node, (left, right, feature, condition, default_left) in enumerate(columns):
            if left < 0:
                trees.add_leaf(number, node, condition)
            else:
                trees.add_branch(number, node, feature, condition, left, right, missing and bool(default_left))
    return trees, float(np.log(base / (1 - base)))


def ensemble_to_onnx(ensemble: Ensemble, calibrator: Calibrator) -> bytes:
    """Serialised graph; the same ensemble gives the same bytes.

    Outputs, each float32 of shape (n, 1), are named by ``OUTPUTS``.
    """
    boosted, base_margin = _boosted_trees(ensemble.booster, missing=ensemble.medians is not None)
    mapping, weight = ensemble.isolation_map, ensemble.blend_weight
    constants = {
        "two": 2.0,
        "path_scale": -1 / mean_path_length(int(ensemble.forest.max_samples_)),
        "low": mapping.low,
        "span": mapping.high - mapping.low,
        "zero": 0.0,
        "one": 1.0,
        "isolation_weight": weight,
        "boosted_weight": 1 - weight,
        "floor": CLIP,
        "ceiling": 1 - CLIP,
        "slope": calibrator.slope,
        "intercept": calibrator.intercept,
    }
    steps = [
        ("Mul", ["path", "path_scale"], "exponent"),
        ("Pow", ["two", "exponent"], "anomaly"),
        ("Sub", ["anomaly", "low"], "raised"),
        ("Div", ["raised", "span"], "stretched"),
        ("Clip", ["stretched", "zero", "one"], "isolation_score"),
        ("Sigmoid", ["margin"], "boosted_score"),
        ("Mul", ["isolation_score", "isolation_weight"], "isolation_part"),
        ("Mul", ["boosted_score", "boosted_weight"], "boosted_part"),
        ("Add", ["isolation_part", "boosted_part"], "hybrid_score"),
        ("Clip", ["hybrid_score", "floor", "ceiling"], "clipped"),
        ("Sub", ["one", "clipped"], "complement"),
        ("Div", ["clipped", "complement"], "odds"),
        ("Log", ["odds"], "log_odds"),
        ("Mul", ["log_odds", "slope"], "scaled"),
        ("Add", ["scaled", "intercept"], "calibrated"),
        ("Sigmoid", ["calibrated"], "fraud_probability"),
    ]
    graph = helper.make_graph(
        [
            _isolation_trees(ensemble.forest, ensemble.medians).node("path"),
            boosted.node("margin", base_margin),
            *(helper.make_node(operator, inputs, [output]) for operator, inputs, output in steps),
        ],
        "fraud_ensemble",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, ensemble.booster.num_features()])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in OUTPUTS],
        [helper.make_tensor(name, TensorProto.FLOAT, [], [value]) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=_OPSETS, ir_version=_IR_VERSION, producer_name="fraud-platform")
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))
