"""A bundle is data: a gateway executes nothing that comes out of storage, whoever wrote it there."""

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import cloudpickle
import onnx
import pytest
from onnx import helper

from ml_project.bundle import FILES, MANIFEST_FILE, ONNX_FILE, Bundle, combined_digest
from stores.registry import BUNDLE_PATH, CHALLENGER
from tests.faults.conftest import Model
from tests.support.gateway import Gateway

PICKLED_MODEL = """flavors:
  python_function:
    loader_module: mlflow.pyfunc.model
    python_model: python_model.pkl
    code: code
    python_version: 3.11.0
model_uuid: 0123456789abcdef0123456789abcdef
"""


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (self.target,))


def forged_digest(folder: Path) -> str:
    """What the registry would say if its tag had been changed together with the files."""
    return combined_digest({name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES})


def mined(folder: Path, bundle: Bundle, target: Path) -> None:
    """A good bundle amidst everything that MLflow or Python would load and run."""
    bundle.write(folder / BUNDLE_PATH)
    code = f"from pathlib import Path\nPath({str(target)!r}).touch()\n"
    places = (folder, folder / "code", folder / "artifacts", folder / BUNDLE_PATH)
    for place in places:
        place.mkdir(exist_ok=True)
        for name in ("__init__.py", "sitecustomize.py", "python_model.py", "ml_project.py", "mined.pth"):
            (place / name).write_text(code)
        for name in ("python_model.pkl", "model.pkl", "booster.pkl", "model.joblib"):
            (place / name).write_bytes(cloudpickle.dumps(Bomb(target)))
    (folder / "MLmodel").write_text(PICKLED_MODEL)


@pytest.mark.slow
def test_a_spoiled_challenger_shadows_nobody(model: Model, make_gateway: Callable[..., Gateway]) -> None:
    spoiled = model.folders[2] / FILES[0]
    spoiled.write_bytes(spoiled.read_bytes() + b" ")
    model.registry.move(CHALLENGER, 2)

    def shadow() -> dict[str, object]:
        return dict(gateway.ready()["shadow"])

    with make_gateway(FRAUD_SHADOW_SHARE="1") as gateway:
        gateway.wait_for_version(1)
        gateway.wait_until(lambda: "the registry says" in str(shadow()["trouble"]))
        assert (shadow()["model_version"], gateway.ready()["trouble"]) == (None, None)
        model.registry.move(CHALLENGER, 3)
        gateway.wait_until(lambda: shadow()["model_version"] == "3")
        model.registry.move(CHALLENGER, None)
        gateway.wait_until(lambda: shadow()["model_version"] is None)
        assert shadow()["trouble"] is None


@pytest.mark.slow
def test_nothing_from_storage_is_executed(
    model: Model, bundles: list[Bundle], make_gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    target = tmp_path / "executed"
    bomb = pickle.dumps(Bomb(target))
    pickle.loads(bomb)
    assert target.exists(), "the bomb works"
    target.unlink()
    refused: dict[int, str] = {}
    for name in FILES:
        folder = tmp_path / f"bomb-as-{name}"
        bundles[1].write(folder / BUNDLE_PATH)
        (folder / BUNDLE_PATH / name).write_bytes(bomb)
        refused[model.add(folder, bundles[1].digest)] = "the registry says"
        refused[model.add(folder, forged_digest(folder / BUNDLE_PATH))] = "cannot go live"
    pickled = tmp_path / "pickled"
    mined(pickled, bundles[1], target)
    for name in FILES:
        (pickled / BUNDLE_PATH / name).unlink()
    refused[model.add(pickled, bundles[1].digest)] = "lacks"
    mined(tmp_path / "mined", bundles[2], target)
    harmless = model.add(tmp_path / "mined", bundles[2].digest)
    with make_gateway(as_program=True) as gateway:
        gateway.wait_for_version(1)
        for version, said in refused.items():
            model.promote(version)
            expected = f"Version {version} cannot go live"
            gateway.wait_until(
                lambda expected=expected, said=said: (
                    expected in str(gateway.ready()["trouble"]) and said in str(gateway.ready()["trouble"])
                )
            )
            assert gateway.ready()["model_version"] == "1"
        assert gateway.metric('fraud_model_swaps_total{outcome="failed"}') == 0
        model.promote(harmless)
        gateway.wait_for_version(harmless)
        gateway.kill()
        gateway.start()
        gateway.wait_for_version(harmless)
    assert not target.exists()


def without_thresholds(bundle: Bundle) -> dict[str, bytes]:
    manifest = json.loads(bundle.files[MANIFEST_FILE])
    manifest["policies"]["f1"]["alert"] = float("nan")
    return {MANIFEST_FILE: json.dumps(manifest).encode()}


def without_end(bundle: Bundle) -> dict[str, bytes]:
    """A loop of 10^12 rounds before the scores."""
    model = onnx.load_from_string(bundle.onnx)
    boolean, number = onnx.TensorProto.BOOL, onnx.TensorProto.INT64
    body = helper.make_graph(
        [helper.make_node("Identity", ["go on"], ["goes on"])],
        "body",
        [helper.make_tensor_value_info("round", number, []), helper.make_tensor_value_info("go on", boolean, [])],
        [helper.make_tensor_value_info("goes on", boolean, [])],
    )
    model.graph.initializer.append(helper.make_tensor("rounds", number, [], [10**12]))
    model.graph.node.append(helper.make_node("Loop", ["rounds", ""], [], body=body))
    return {ONNX_FILE: model.SerializeToString()}


def in_circles(bundle: Bundle) -> dict[str, bytes]:
    """A tree whose root is its own child."""
    model = onnx.load_from_string(bundle.onnx)
    columns = {attribute.name: attribute for attribute in model.graph.node[0].attribute}
    columns["nodes_truenodeids"].ints[0] = columns["nodes_falsenodeids"].ints[0] = 0
    return {ONNX_FILE: model.SerializeToString()}


@pytest.mark.slow
def test_a_harmful_version_does_not_go_live_and_the_rollback_is_followed(
    model: Model, bundles: list[Bundle], make_gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    refused: dict[int, str] = {}
    for harm, said in ((without_thresholds, "policy 'f1'"), (without_end, "graph"), (in_circles, "tree")):
        folder = tmp_path / harm.__name__
        bundles[1].write(folder / BUNDLE_PATH)
        for name, content in harm(bundles[1]).items():
            (folder / BUNDLE_PATH / name).write_bytes(content)
        refused[model.add(folder, forged_digest(folder / BUNDLE_PATH))] = said
    with make_gateway() as gateway:
        gateway.wait_for_version(1)
        for good, (version, said) in zip((3, 1, 3), refused.items(), strict=True):
            model.promote(version)
            gateway.wait_until(lambda version=version: f"Version {version} cannot" in str(gateway.ready()["trouble"]))
            assert said in str(gateway.ready()["trouble"])
            assert gateway.ready()["model_version"] in ("1", "3")
            model.promote(good)
            gateway.wait_for_version(good)
            gateway.wait_until(lambda: gateway.ready()["trouble"] is None)
