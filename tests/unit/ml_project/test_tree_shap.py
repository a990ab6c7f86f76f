"""Contributions beside XGBoost's own, and beside the definition of Shapley values."""

import json
from contextlib import suppress
from itertools import combinations
from math import factorial

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st

from ml_project.errors import InvalidBundle
from ml_project.fitting import Fitted
from ml_project.tree_shap import TreePaths, TreeShap, read_paths

FEATURES = 5


def fitted(depth: int, rounds: int, seed: int = 0, **parameters: object) -> xgboost.Booster:
    draw = np.random.default_rng(seed)
    rows = draw.normal(size=(400, FEATURES)).round(1)
    label = (rows[:, 0] * rows[:, 1] + draw.normal(size=400) > 0).astype(int)
    given = {"objective": "binary:logistic", "max_depth": depth, "min_child_weight": 0.0, "seed": seed, **parameters}
    return xgboost.train(given, xgboost.DMatrix(rows, label), rounds)


def shap(booster: xgboost.Booster) -> TreeShap:
    return TreeShap(read_paths(bytes(booster.save_raw("json"))))


@given(
    depth=st.integers(1, 9),
    rounds=st.integers(1, 8),
    seed=st.integers(0, 1000),
    lossguide=st.booleans(),
    parallel=st.integers(1, 3),
)
@settings(max_examples=30, deadline=None)
def test_contributions_are_xgboosts_own(depth: int, rounds: int, seed: int, lossguide: bool, parallel: int):
    policy = "lossguide" if lossguide else "depthwise"
    booster = fitted(depth, rounds, seed, grow_policy=policy, num_parallel_tree=parallel, subsample=0.8)
    rows = np.random.default_rng(seed + 1).normal(size=(20, FEATURES)).round(1).astype(np.float32)
    expected = booster.predict(xgboost.DMatrix(rows), pred_contribs=True)
    np.testing.assert_allclose(shap(booster).contributions(rows), expected, atol=2e-5)


def test_contributions_are_shapley_values_by_definition():
    paths = TreePaths(
        feature=np.array([[0, 1], [1, 2], [2, 0]]),
        low=np.array([[0.0, -np.inf], [-np.inf, 1.0], [0.5, -np.inf]], dtype=np.float32),
        high=np.array([[np.inf, 0.0], [1.0, np.inf], [np.inf, 0.0]], dtype=np.float32),
        missing=np.ones((3, 2), dtype=bool),
        share=np.array([[0.3, 0.6], [0.5, 0.25], [0.9, 0.7]]),
        leaf=np.array([2.0, -1.5]),
        base=0.25,
        features=3,
    )
    row = np.array([[0.1, -0.2, 0.7]], dtype=np.float32)

    def worth(known: frozenset[int]) -> float:
        total = paths.base
        for leaf in range(2):
            term = paths.leaf[leaf]
            for place in range(3):
                name = int(paths.feature[place, leaf])
                met = paths.low[place, leaf] <= row[0, name] < paths.high[place, leaf]
                term *= float(met) if name in known else paths.share[place, leaf]
            total += term
        return float(total)

    weights = [factorial(size) * factorial(2 - size) / factorial(3) for size in range(3)]
    expected = [
        sum(
            weights[size] * (worth(frozenset({*known, name})) - worth(frozenset(known)))
            for size in range(3)
            for known in combinations({0, 1, 2} - {name}, size)
        )
        for name in range(3)
    ]
    found = TreeShap(paths).contributions(row)
    np.testing.assert_allclose(found[0], [*expected, worth(frozenset())], atol=1e-12)
    assert found.sum() == pytest.approx(worth(frozenset({0, 1, 2})))


def test_a_value_on_a_split_goes_right():
    booster = fitted(3, 2)
    split = read_paths(bytes(booster.save_raw("json"))).low
    rows = np.tile(split[np.isfinite(split)][:1], (1, FEATURES)).astype(np.float32)
    margin = booster.predict(xgboost.DMatrix(rows), output_margin=True)
    assert shap(booster).contributions(rows).sum() == pytest.approx(float(margin[0]), abs=1e-5)


def test_a_booster_without_splits_gives_its_base():
    booster = fitted(1, 1, gamma=1e9)
    margin = booster.predict(xgboost.DMatrix(np.zeros((1, FEATURES))), output_margin=True)
    found = shap(booster).contributions(np.zeros((1, FEATURES), dtype=np.float32))
    np.testing.assert_allclose(found, [[0, 0, 0, 0, 0, float(margin[0])]], atol=1e-6)


@pytest.mark.parametrize("objective", ["reg:squarederror", "binary:hinge"])
def test_another_objective_is_refused(objective: str):
    with pytest.raises(InvalidBundle, match=objective):
        read_paths(bytes(fitted(1, 1, objective=objective).save_raw("json")))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"left_children", b"lost_children"),
        (b"sum_hessian", b"sum_unknown"),
        (b"base_score", b"best_score"),
    ],
)
def test_a_booster_that_lacks_a_part_is_refused(old: bytes, new: bytes):
    content = bytes(fitted(2, 1).save_raw("json"))
    with pytest.raises(InvalidBundle, match="cannot be read"):
        read_paths(content.replace(old, new))


def test_a_tree_that_leads_back_to_itself_is_refused():
    model = json.loads(fitted(1, 1).save_raw("json"))
    (tree,) = model["learner"]["gradient_booster"]["model"]["trees"]
    tree["left_children"][0] = 0
    with pytest.raises(InvalidBundle, match="a tree is malformed"):
        read_paths(json.dumps(model).encode())


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("left_children", 1.5),
        ("right_children", None),
        ("split_indices", "0"),
        ("split_indices", 10**30),
        ("split_conditions", "0.5"),
        ("split_conditions", 1e300),
        ("sum_hessian", float("nan")),
        ("sum_hessian", [1.0]),
    ],
)
def test_a_column_of_another_kind_is_refused(column: str, value: object):
    model = json.loads(fitted(1, 1).save_raw("json"))
    (tree,) = model["learner"]["gradient_booster"]["model"]["trees"]
    tree[column][0] = value
    with pytest.raises(InvalidBundle, match="cannot be read"):
        read_paths(json.dumps(model).encode())


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff", b"{L", b"[" * 100_000, b'{"learner": {}}'])
def test_what_is_no_booster_is_refused(content: bytes):
    with pytest.raises(InvalidBundle, match="cannot be read"):
        read_paths(content)


def binary_columns(booster: xgboost.Booster, name: str) -> np.ndarray:
    """A column of all trees, as XGBoost's binary form (UBJSON) holds it: marked arrays of big-endian float32."""
    content, head, found = bytes(booster.save_raw("ubj")), name.encode() + b"[$d#L", []
    at = content.find(head)
    while at >= 0:
        start = at + len(head) + 8
        count = int.from_bytes(content[start - 8 : start], "big")
        found.append(np.frombuffer(content, ">f4", count, start))
        at = content.find(head, start)
    return np.concatenate(found).astype(np.float32)


def test_json_holds_every_number_to_the_bit(twin: Fitted):
    for booster in (twin.ensemble.booster, fitted(30, 6)):
        content = bytes(booster.save_raw("json"))
        trees = json.loads(content)["learner"]["gradient_booster"]["model"]["trees"]
        for name in ("split_conditions", "sum_hessian"):
            read = np.array([value for tree in trees for value in tree[name]]).astype(np.float32)
            np.testing.assert_array_equal(read.view(np.uint32), binary_columns(booster, name).view(np.uint32))
        again = xgboost.Booster()
        again.load_model(bytearray(content))
        assert again.save_raw("ubj") == booster.save_raw("ubj")
        leaves = {value for tree in trees for value in np.float32(tree["split_conditions"]).tolist()}
        assert leaves.issuperset(read_paths(content).leaf.tolist())


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_spoilt_booster_is_read_or_refused(data: st.DataObject):
    content = bytearray(SMALL)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(InvalidBundle):  # any other error fails
        TreeShap(read_paths(bytes(content)))


SMALL = bytes(fitted(2, 1).save_raw("json"))
