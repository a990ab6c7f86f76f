"""Files of a new version are gone or changed while it is loaded: it never goes live until they are good again."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ml_project.bundle import BOOSTER_FILE, ONNX_FILE
from tests.faults.conftest import Load, Model
from tests.support.gateway import Gateway
from tests.support.sizes import few_or_full


def gone(folder: Path) -> None:
    shutil.rmtree(folder)


def incomplete(folder: Path) -> None:
    (folder / BOOSTER_FILE).unlink()


def tampered(folder: Path) -> None:
    graph = bytearray((folder / ONNX_FILE).read_bytes())
    graph[len(graph) // 2] ^= 1
    (folder / ONNX_FILE).write_bytes(graph)


@pytest.mark.parametrize("rounds", few_or_full(1, 10))
def test_a_version_with_bad_files_waits_until_they_are_good(
    rounds: int,
    model: Model,
    make_gateway: Callable[..., Gateway],
    load: Load,
    tmp_path: Path,
) -> None:
    troubles = {gone: "There is no bundle", incomplete: f"lacks {BOOSTER_FILE}", tampered: "the registry says"}
    live = 1
    with make_gateway() as gateway:
        gateway.wait_for_version(live)
        with load.on(gateway) as clients:
            for fault, said in [*troubles.items()] * rounds:
                wanted = live % 3 + 1
                shutil.rmtree(gateway.state / "gateway" / "bundles")  # a version that was live before is fetched again
                shutil.copytree(model.folders[wanted], tmp_path / "good")
                before = swaps(gateway)
                fault(model.folders[wanted])
                model.promote(wanted)
                gateway.wait_until(lambda said=said: said in str(gateway.ready()["trouble"]))
                clients.wait_for(100, lambda one, live=live: one.model_version == str(live))
                assert gateway.ready()["model_version"] == str(live)
                assert swaps(gateway) > before
                shutil.rmtree(model.folders[wanted], ignore_errors=True)
                (tmp_path / "good").rename(model.folders[wanted])
                gateway.wait_for_version(wanted)
                gateway.wait_until(lambda: gateway.ready()["trouble"] is None)
                live = wanted
        load.expect_answers(clients, 3 * rounds)
        lines = [json.loads(line) for line in gateway.log.read_text().splitlines()]
        for said in troubles.values():
            assert any(line["message"].startswith("model watch: ") and said in line["message"] for line in lines)


def swaps(gateway: Gateway) -> float:
    """Attempts to go live that came to nothing."""
    return sum(gateway.metric(f'fraud_model_swaps_total{{outcome="{outcome}"}}') for outcome in ("refused", "failed"))
