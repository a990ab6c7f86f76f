"""The slot that holds the live model, and a start from the release pointer while the registry is unreachable."""

import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import cycle
from pathlib import Path

import httpx
import pytest

from ml_project.bundle import ONNX_FILE
from ml_project.errors import Unavailable
from serving.live_model import ModelSlot, released
from serving.model_follower import ModelFollower
from serving.settings import GatewaySettings
from stores.attestation import SigningKey, Statement
from stores.releases import POINTER, Release, open_releases
from tests.support.creditcard import CREDITCARD


def test_a_swap_never_mixes_versions(serve, source, make_scorer, legitimate, fraudulent) -> None:
    alerts = {1: 0.3, 2: 0.6}
    scorers = {version: make_scorer(alert=alert) for version, alert in alerts.items()}
    source.promote(1, scorers[1])
    batch = [legitimate, fraudulent] * 40
    with serve(source, poll_seconds=0.002, batch_workers=4) as gateway:
        gateway.wait_for(1)

        def ask(_number: int) -> list[dict]:
            response = client.post("/predict-batch", json=batch)
            assert response.status_code == 200
            return response.json()

        with httpx.Client(base_url=gateway.client.base_url, timeout=60) as client, ThreadPoolExecutor(4) as clients:
            asked = clients.map(ask, range(60))
            between = []
            for version in [next(versions) for versions in [cycle((2, 1))] for _ in range(20)]:
                source.promote(version, scorers[version])
                gateway.wait_for(version)
                between.append(ask(0))
            answers = [*asked, *between]
    seen = set()
    for answer in answers:
        told = {(row["model_version"], row["threshold_used"]) for row in answer}
        assert len(told) == 1
        seen |= told
    assert seen == {("1", 0.3), ("2", 0.6)}
    assert len(source.loads) >= 20


ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def slot() -> ModelSlot:
    return ModelSlot()


@pytest.fixture
def settings(tmp_path: Path) -> GatewaySettings:
    return GatewaySettings(releases_uri=str(tmp_path / "releases"), state_dir=tmp_path / "state")


@pytest.fixture
def release(settings, scorer) -> Release:
    """Version 7, published."""
    releases = open_releases(settings.releases_uri)
    return releases.publish(scorer.bundle, "fraud-ensemble", 7, {}, datetime.now(UTC))


@pytest.fixture
def watcher(slot, source, settings) -> ModelFollower:
    return ModelFollower(lambda: source, slot, CREDITCARD, 10, 1, lambda: released(settings))


@pytest.mark.parametrize(("gate", "version"), [({"passed": True}, "7"), ({"passed": False}, None)])
def test_the_pointer_past_the_gate_does_not_answer(slot, source, settings, scorer, gate, version) -> None:
    open_releases(settings.releases_uri).publish(scorer.bundle, "fraud-ensemble", 7, gate, datetime.now(UTC))
    strict = settings.model_copy(update={"require_gate": True})
    ModelFollower(lambda: source, slot, CREDITCARD, 10, 1, lambda: released(strict)).start_at_once()
    assert (slot.current.version if slot.current else None) == version


KEY = SigningKey("a secret of the promotion, 32 letters")


def signature(of: str, **change: object) -> str:
    said = {"model": "fraud-ensemble", "version": 7, "digest": of, "gate": "passed", "approved_by": "anna"}
    return KEY.sign(Statement.model_validate({**said, "when": datetime.now(UTC), **change}))


@pytest.mark.parametrize(
    ("change", "version", "why"),
    [
        ({}, "7", ""),
        ({"gate": "forced"}, "7", ""),
        (None, None, "It is not signed by the promotion."),
        ({"version": 6}, None, "Its signature is of version 6 of fraud-ensemble"),
        ({"digest": "ab" * 32}, None, "Its signature is of version 7 of fraud-ensemble with the digest abababababab…"),
        ({"model": "another"}, None, "Its signature is of version 7 of another"),
        ({"gate": "refused"}, None, "The promotion signed that it may not answer (gate: refused)."),
    ],
)
def test_the_pointer_without_the_promotions_signature_does_not_answer(
    slot, source, settings, scorer, caplog, change, version, why
) -> None:
    """Nor does a bundle that the cache holds: it goes through the same door."""
    by = None if change is None else signature(scorer.bundle.digest, **change)
    releases = open_releases(settings.releases_uri)
    # the gate result of the pointer itself is no word of the promotion
    releases.publish(scorer.bundle, "fraud-ensemble", 7, {"passed": True}, datetime.now(UTC), signature=by)
    ModelFollower(lambda: source, slot, CREDITCARD, 10, 1, lambda: released(settings)).start_at_once()
    assert slot.current.version == "7"
    slot.current = None
    careful = settings.model_copy(update={"trusted_keys": (KEY.public,)})
    ModelFollower(lambda: source, slot, CREDITCARD, 10, 1, lambda: released(careful)).start_at_once()
    assert (slot.current.version if slot.current else None) == version
    assert (f"FRAUD_TRUSTED_KEYS is set. {why}" in caplog.text) is (version is None)


def test_the_pointer_answers_until_the_registry_has_confirmed(slot, source, settings, scorer, release) -> None:
    asked, may_answer = threading.Event(), threading.Event()

    def connect():
        asked.set()
        assert may_answer.wait(60)
        return source

    source.promote(7, scorer)
    source.live = type(source.live)(7, release.digest, "registry")
    watcher = ModelFollower(connect, slot, CREDITCARD, 0.01, 1, lambda: released(settings))
    watcher.start()
    try:
        assert asked.wait(60)
        model = slot.current
        assert (model.version, model.live.digest, model.live.named_by) == ("7", release.digest, "release pointer")
        may_answer.set()
        while slot.current.live.named_by != "registry":
            pass
        assert slot.current.scorer is model.scorer
        assert source.loads == []
        assert slot.swaps == {"live": 1, "refused": 0, "failed": 0}
    finally:
        may_answer.set()
        watcher.stop()


def test_the_registry_overrules_the_pointer(watcher, slot, source, make_scorer, release) -> None:
    source.promote(8, newer := make_scorer(alert=0.6))
    watcher.start_at_once()
    assert slot.current.version == "7"
    watcher.check()
    assert (slot.current.version, slot.current.scorer) == ("8", newer)


def test_a_warm_cache_is_enough(watcher, slot, settings, release) -> None:
    watcher.start_at_once()
    slot.current = None
    (Path(settings.releases_uri) / release.location / ONNX_FILE).unlink()
    watcher.start_at_once()
    assert slot.current.version == "7"


def test_without_a_pointer_the_registry_is_waited_for(watcher, slot, caplog) -> None:
    watcher.start_at_once()
    assert slot.current is None
    assert slot.swaps == {"live": 0, "refused": 0, "failed": 0}
    assert caplog.records == []


@pytest.mark.parametrize("spoil", ["pointer", "bundle"])
def test_what_is_spoiled_does_not_go_live_and_does_not_hinder(
    watcher, slot, source, settings, scorer, release, caplog, spoil
) -> None:
    folder = Path(settings.releases_uri)
    path = folder / POINTER if spoil == "pointer" else folder / release.location / ONNX_FILE
    path.write_bytes(path.read_bytes()[:-2])
    watcher.start_at_once()
    assert slot.current is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    source.promote(7, scorer)
    source.live = type(source.live)(7, release.digest, "registry")
    source.scorers[release.digest] = scorer
    watcher.check()
    assert slot.current.version == "7"
    assert slot.trouble is None


def test_a_registry_that_is_away_leaves_the_pointers_version(watcher, slot, source, release) -> None:
    source.failure = Unavailable("The server is unreachable.")
    watcher.start_at_once()
    watcher.check()
    assert slot.current.live.named_by == "release pointer"
    assert slot.trouble.message == "The server is unreachable."


def test_the_first_start_does_without_mlflow(settings, release, caplog) -> None:
    caplog.set_level(logging.INFO)
    code = (
        "import sys\n"
        "from serving.live_model import ModelSlot\n"
        "from serving.live_model import released\n"
        "from serving.settings import GatewaySettings\n"
        "from serving.model_follower import ModelFollower\n"
        f"settings = GatewaySettings(releases_uri={settings.releases_uri!r}, state_dir={str(settings.state_dir)!r})\n"
        "slot = ModelSlot()\n"
        "follower = ModelFollower(None, slot, settings.data_contract, 10, 1, lambda: released(settings))\n"
        "follower.start_at_once()\n"
        "sys.stdout.write(slot.current.version + str('mlflow' in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "7False"


def test_the_pointer_may_lie_in_s3(slot, tmp_path, scorer, s3_server, s3_bucket) -> None:
    settings = GatewaySettings(
        releases_uri=f"s3://{s3_bucket}/releases", s3_endpoint_url=s3_server.url, state_dir=tmp_path / "state"
    )
    open_releases(settings.releases_uri, settings.s3_endpoint_url).publish(
        scorer.bundle, "fraud-ensemble", 7, {}, datetime.now(UTC)
    )
    ModelFollower(None, slot, CREDITCARD, 10, 1, lambda: released(settings)).start_at_once()
    assert (slot.current.version, slot.current.live.digest) == ("7", scorer.bundle.digest)
