"""Whether a graph is one that `ml_project.onnx_graph` could have written: checked before ONNX Runtime sees it.

A digest says who wrote a file, not that it does no harm: a loop that never ends, a constant of gigabytes or a tree that
leads back into itself would stop or end the process that scores it. So the graph is read with a description of the
format (https://onnx.ai/onnx/repo-docs/IR.html) that knows only the fields that we write. Whatever else is there (loops,
functions, files outside) is an unknown field, and refused.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass
from numpy.typing import NDArray

from ml_project.errors import InvalidBundle

MOST_STEPS: Final = 64
"""Nodes, and constants, of a graph; ours has 18 and 12."""

DEEPEST: Final = 128
"""Levels of a tree; ours have about ten. The runtime descends by recursion."""

_FORMAT: Final = {
    "Model": (
        "ir_version:1:INT64 producer_name:2:BYTES producer_version:3:BYTES domain:4:BYTES model_version:5:INT64 "
        "doc_string:6:BYTES graph:7:Graph opset_import:8:Opset*"
    ),
    "Opset": "domain:1:BYTES version:2:INT64",
    # inputs and outputs are the runtime's to check; see `ml_project.scorer`
    "Graph": "node:1:Node* name:2:BYTES initializer:5:Tensor* doc_string:10:BYTES input:11:BYTES* output:12:BYTES*",
    "Node": "input:1:BYTES* output:2:BYTES* name:3:BYTES op_type:4:BYTES attribute:5:Attribute* domain:7:BYTES",
    "Attribute": (
        "name:1:BYTES f:2:FLOAT i:3:INT64 s:4:BYTES floats:7:FLOAT* ints:8:INT64* strings:9:BYTES* type:20:INT32"
    ),
    "Tensor": "dims:1:INT64* data_type:2:INT32 float_data:4:FLOAT* name:8:BYTES",
}
"""Fields of the format's messages as name:number:type, repeated with a star; texts are bytes, enumerations numbers."""

_ARITHMETIC: Final = {b"Mul", b"Pow", b"Sub", b"Div", b"Clip", b"Sigmoid", b"Add", b"Log"}
_FOREST: Final = b"TreeEnsembleRegressor"
_ML_DOMAIN: Final = b"ai.onnx.ml"
_FLOAT: Final = 1

_NODE_COLUMNS: Final = {
    *("nodes_treeids", "nodes_nodeids", "nodes_featureids", "nodes_values", "nodes_modes", "nodes_truenodeids"),
    *("nodes_falsenodeids", "nodes_missing_value_tracks_true"),
}
_LEAF_COLUMNS: Final = {"target_treeids", "target_nodeids", "target_ids", "target_weights"}
_SCALARS: Final = {"n_targets", "aggregate_function", "post_transform", "base_values"}


def _model_class() -> Any:
    file = FileDescriptorProto(name="graph_check.proto", package="graph_check", syntax="proto2")
    for message, fields in _FORMAT.items():
        described = file.message_type.add(name=message)
        for name, number, kind in (field.split(":") for field in fields.split()):
            label = FieldDescriptorProto.LABEL_REPEATED if kind.endswith("*") else FieldDescriptorProto.LABEL_OPTIONAL
            field, kind = described.field.add(name=name, number=int(number), label=label), kind.rstrip("*")
            if kind in _FORMAT:
                field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".graph_check.{kind}"
            else:
                field.type = getattr(FieldDescriptorProto, f"TYPE_{kind}")
    pool = DescriptorPool()
    pool.Add(file)
    return GetMessageClass(pool.FindMessageTypeByName("graph_check.Model"))


_Model: Final = _model_class()


def check_graph(content: bytes, features: int) -> None:
    """Refuse a graph that has other operators, fields, sizes or trees than ours.

    Parameters
    ----------
    content : bytes
        A serialised ONNX model.
    features : int
        How many it may ask for.

    Raises
    ------
    InvalidBundle
        Naming the first thing that is not allowed.
    """
    try:
        model = _Model.FromString(content)
        _require(model.HasField("graph"), "it is not an ONNX model")
        _require(len(model.graph.node) <= MOST_STEPS, f"it has {len(model.graph.node)} nodes")
        _require(len(model.graph.initializer) <= MOST_STEPS, f"it has {len(model.graph.initializer)} constants")
        for constant in model.graph.initializer:
            scalar = constant.data_type == _FLOAT and not constant.dims and len(constant.float_data) == 1
            _require(scalar and math.isfinite(constant.float_data[0]), "a constant is not one finite number")
        for node in model.graph.node:
            _check_node(node, features)
        _require_known(model)
    except (DecodeError, ValueError) as error:
        raise InvalidBundle(f"The graph cannot be used: {error}.", "Publish the version again.") from error


def _check_node(node: Any, features: int) -> None:
    if (node.domain, node.op_type) == (_ML_DOMAIN, _FOREST):
        _check_forest(node.attribute, features)
        return
    allowed = not node.domain and node.op_type in _ARITHMETIC
    _require(allowed, f"the operator {_text(node.domain or b'ai.onnx')}.{_text(node.op_type)} is not allowed")
    _require(not node.attribute, f"the operator {_text(node.op_type)} has attributes")


def _check_forest(attributes: Sequence[Any], inputs: int) -> None:
    given = {_text(attribute.name): attribute for attribute in attributes}
    known = given.keys() <= _NODE_COLUMNS | _LEAF_COLUMNS | _SCALARS
    _require(known and len(given) == len(attributes), "a forest has attributes that the platform never writes")
    _require("n_targets" in given and given["n_targets"].i == 1, "a forest does not have exactly one output")
    _require("base_values" not in given or len(given["base_values"].floats) <= 1, "a forest has several base values")

    def numbers(name: str, kind: str = "ints") -> NDArray[Any]:
        values = getattr(given[name], kind) if name in given else ()
        return np.array(values, dtype=np.int64 if kind == "ints" else np.float32)

    modes = np.array(given["nodes_modes"].strings if "nodes_modes" in given else (), dtype=object)
    columns = [numbers(f"nodes_{name}") for name in ("treeids", "nodeids", "truenodeids", "falsenodeids", "featureids")]
    values = numbers("nodes_values", "floats")
    tracks = numbers("nodes_missing_value_tracks_true")
    leaves = [numbers(f"target_{name}") for name in ("treeids", "nodeids", "ids")]
    weights = numbers("target_weights", "floats")
    lengths = {len(modes), len(values), len(tracks), *map(len, columns)}
    _require(len(lengths) == 1, "a forest's columns differ in length")
    _require(len({len(weights), *map(len, leaves)}) == 1, "a forest's columns of leaves differ in length")
    finite = np.isfinite(values).all() and np.isfinite(weights).all()
    _require(bool(finite), "a forest holds a value that is not finite")
    trees, nodes, true, false, features = columns
    there = (features >= 0) & (features < inputs)
    _require(bool(there.all()), "a forest refers to a feature that does not exist")
    _require(not leaves[2].any(), "a forest does not have exactly one output")
    leaf = modes == b"LEAF"
    _require(
        bool((leaf | (modes == b"BRANCH_LEQ") | (modes == b"BRANCH_LT")).all()), "a forest has unexpected comparisons"
    )
    _check_trees(_keys(trees, nodes), _keys(trees, true), _keys(trees, false), trees, leaf)
    ends = np.sort(_keys(trees, nodes)[leaf])
    _require(
        np.array_equal(ends, np.sort(_keys(leaves[0], leaves[1]))), "a forest's leaves and their values do not match"
    )


def _check_trees(
    keys: NDArray[np.int64],
    true: NDArray[np.int64],
    false: NDArray[np.int64],
    trees: NDArray[np.int64],
    leaf: NDArray[np.bool_],
) -> None:
    """Every node is reached once, from the one root of its tree: then no way leads back."""
    order = np.argsort(keys)
    ranked = keys[order]
    _require(not (np.diff(ranked) == 0).any(), "a forest lists a node twice")
    children = np.full((len(keys), 2), -1)
    for side, wanted in enumerate((true[~leaf], false[~leaf])):
        place = np.minimum(np.searchsorted(ranked, wanted), len(keys) - 1)
        _require(bool((ranked[place] == wanted).all()), "a branch leads to a node that does not exist")
        children[~leaf, side] = order[place]
    parents = np.bincount(children[~leaf].ravel(), minlength=len(keys))
    _require(parents.max(initial=0) <= 1, "a tree is malformed: two branches lead to one node")
    level = np.flatnonzero(parents == 0)
    _require(
        len(np.unique(trees[level])) == len(level) == len(np.unique(trees)), "a tree does not have exactly one root"
    )
    reached = 0
    for _depth in range(DEEPEST):
        reached += len(level)
        level = children[level[~leaf[level]]].ravel()
    _require(not len(level), f"a tree is deeper than {DEEPEST} levels")
    _require(reached == len(keys), "a tree leads back into itself")


def _keys(trees: NDArray[np.int64], nodes: NDArray[np.int64]) -> NDArray[np.int64]:
    for numbers in (trees, nodes):
        _require(bool(((numbers >= 0) & (numbers < 2**31)).all()), "a tree or node has an invalid number")
    return (trees << 32) | nodes


def _require_known(model: Any) -> None:
    """Refuse fields that ours never have, at any depth.

    By what is left without them: protobuf's own list of them (`UnknownFieldSet`) crashes when threads make several.
    """
    size = model.ByteSize()
    model.DiscardUnknownFields()
    _require(model.ByteSize() == size, "it has fields that the platform never writes")


def _require(condition: bool, fault: str) -> None:
    if not condition:
        raise ValueError(fault)


def _text(value: bytes) -> str:
    return value[:60].decode("utf-8", "replace")
