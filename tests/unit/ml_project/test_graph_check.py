"""Graphs that are not of the kind that training writes never reach ONNX Runtime."""

import contextlib
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from ml_project.bundle import Bundle
from ml_project.errors import InvalidBundle
from ml_project.graph_check import DEEPEST, MOST_STEPS, check_graph
from tests.support.creditcard import FEATURES

Change = Callable[[ModelProto], None]


def forest(model: ModelProto) -> dict[str, AttributeProto]:
    """The attributes of the first forest."""
    return {attribute.name: attribute for attribute in model.graph.node[0].attribute}


def node(operator: str, **attributes: object) -> Change:
    return lambda model: model.graph.node.append(helper.make_node(operator, ["margin"], ["other"], **attributes))


def loop(model: ModelProto) -> None:
    body = helper.make_graph([helper.make_node("Identity", ["c"], ["d"])], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["N", "T"], ["x"], body=body))


def constant(array: np.ndarray) -> Change:
    return lambda model: model.graph.initializer.append(numpy_helper.from_array(array, "c"))


def external(model: ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def function(model: ModelProto) -> None:
    model.functions.add(name="f", domain="")


def sparse(model: ModelProto) -> None:
    model.graph.sparse_initializer.add().dims.extend([10**12])


def many(model: ModelProto) -> None:
    model.graph.node.extend([NodeProto(op_type="Log", input=["margin"], output=["o"])] * MOST_STEPS)


def attribute(name: str, **parts: object) -> Change:
    def change(model: ModelProto) -> None:
        for field, value in parts.items():
            setattr(forest(model)[name], field, value)

    return change


def entry(name: str, value: float, column: str = "ints") -> Change:
    """Another value in the first place of a forest's column."""

    def change(model: ModelProto) -> None:
        getattr(forest(model)[name], column)[0] = value

    return change


def shortened(name: str) -> Change:
    return lambda model: forest(model)[name].ints.pop()


def another_attribute(model: ModelProto) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("nodes_hitrates", [1.0]))


def back_to_the_root(model: ModelProto) -> None:
    forest(model)["nodes_truenodeids"].ints[0] = 0


def both_ways_to_one(model: ModelProto) -> None:
    columns = forest(model)
    columns["nodes_falsenodeids"].ints[0] = columns["nodes_truenodeids"].ints[0]


def a_ring_beside_the_tree(model: ModelProto) -> None:
    """Two nodes that lead to each other, and to a leaf of their own each."""
    columns = forest(model)
    for number, (true, false, mode) in enumerate(
        [(9001, 9002, b"BRANCH_LEQ"), (9000, 9003, b"BRANCH_LEQ"), (0, 0, b"LEAF"), (0, 0, b"LEAF")], start=9000
    ):
        for name, value in (("treeids", 0), ("nodeids", number), ("featureids", 0), ("truenodeids", true)):
            columns[f"nodes_{name}"].ints.append(value)
        columns["nodes_falsenodeids"].ints.append(false)
        columns["nodes_missing_value_tracks_true"].ints.append(0)
        columns["nodes_values"].floats.append(0)
        columns["nodes_modes"].strings.append(mode)
    for number in (9002, 9003):
        columns["target_treeids"].ints.append(0)
        columns["target_nodeids"].ints.append(number)
        columns["target_ids"].ints.append(0)
        columns["target_weights"].floats.append(0)


def deep(model: ModelProto) -> None:
    """One tree that leads down on one side, further than recursion should."""
    steps, columns = DEEPEST + 1, forest(model)
    count = 2 * steps + 1
    inner = np.arange(count) < steps
    numbers = np.arange(count)
    for name, values in {
        "nodes_treeids": np.zeros(count),
        "nodes_nodeids": numbers,
        "nodes_featureids": np.zeros(count),
        "nodes_truenodeids": np.where(inner, numbers + 1, 0),
        "nodes_falsenodeids": np.where(inner, steps + 1 + numbers, 0),
        "nodes_missing_value_tracks_true": np.zeros(count),
        "target_treeids": np.zeros(steps + 1),
        "target_nodeids": numbers[steps:],
        "target_ids": np.zeros(steps + 1),
    }.items():
        columns[name].ClearField("ints")
        columns[name].ints.extend(values.astype(int).tolist())
    columns["nodes_modes"].ClearField("strings")
    columns["nodes_modes"].strings.extend([b"BRANCH_LEQ" if each else b"LEAF" for each in inner])
    for name, length in (("nodes_values", count), ("target_weights", steps + 1)):
        columns[name].ClearField("floats")
        columns[name].floats.extend([0.0] * length)


REFUSED: dict[str, tuple[Change, str]] = {
    "loop": (loop, "ai.onnx.Loop is not allowed"),
    "loop without a body": (node("Loop"), "operator ai.onnx.Loop is not allowed"),
    "other operator": (node("ConstantOfShape"), "operator ai.onnx.ConstantOfShape is not allowed"),
    "operator's attribute": (node("Log", axis=1), "Log has attributes"),
    "other domain": (lambda model: model.graph.node.append(NodeProto(op_type="Log", domain="x")), "operator x.Log"),
    "large constant": (constant(np.zeros((1000, 1000), np.float32)), "constant|tensor"),
    "integer": (constant(np.array(3)), "constant|tensor"),
    "external": (external, "it has fields that the platform never writes"),
    "function": (function, "it has fields that the platform never writes"),
    "sparse": (sparse, "it has fields that the platform never writes"),
    "many nodes": (many, "nodes"),
    "many outputs": (attribute("n_targets", i=10**9), "exactly one output"),
    "other attribute": (another_attribute, "attributes that the platform never writes"),
    "short column": (shortened("nodes_featureids"), "differ in length"),
    "feature": (entry("nodes_featureids", 37), "feature that does not exist"),
    "negative feature": (entry("nodes_featureids", -1), "feature that does not exist"),
    "threshold": (entry("nodes_values", float("nan"), "floats"), "not finite"),
    "leaf": (entry("target_weights", float("inf"), "floats"), "not finite"),
    "mode": (entry("nodes_modes", b"BRANCH_EQ", "strings"), "unexpected comparisons"),
    "missing child": (entry("nodes_truenodeids", 10**6), "a node that does not exist"),
    "odd number": (entry("nodes_nodeids", -(2**40)), "invalid number"),
    "node twice": (entry("nodes_nodeids", 1), "node twice|not there|does not exist"),
    "leaf's place": (entry("target_nodeids", 0), "leaves and their values do not match"),
    "back to the root": (back_to_the_root, "root|two branches|back into itself"),
    "two ways": (both_ways_to_one, "two branches|root"),
    "ring": (a_ring_beside_the_tree, "two branches|back into itself"),
    "deep": (deep, "deeper than"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_ours_never_hold_is_refused(bundle: Bundle, name: str) -> None:
    change, said = REFUSED[name]
    model = onnx.load_from_string(bundle.onnx)
    change(model)
    with pytest.raises(InvalidBundle, match=said):
        check_graph(model.SerializeToString(), len(FEATURES))


def test_ours_pass(bundle: Bundle) -> None:
    check_graph(bundle.onnx, len(FEATURES))


@pytest.mark.parametrize("content", [b"", b"not a graph", b"\x00" * 1000, GraphProto().SerializeToString()])
def test_what_is_no_graph_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidBundle, match="The graph cannot be used"):
        check_graph(content, len(FEATURES))


@pytest.mark.parametrize("seed", range(5))
def test_changed_bytes_are_refused_or_pass_but_raise_nothing_else(bundle: Bundle, seed: int) -> None:
    generator = np.random.default_rng(seed)
    for _ in range(40):
        content = bytearray(bundle.onnx)
        for place in generator.integers(0, len(content), 3):
            content[place] = generator.integers(0, 256)
        with contextlib.suppress(InvalidBundle):
            check_graph(bytes(content), len(FEATURES))
