"""Promotions with the real gate: policies, force, approval, and two promoters at once."""

import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from ml_project.errors import InvalidInput, LostRace, Refused
from pipelines.promotion.mover import open_mover, open_stores
from pipelines.promotion.policy import set_policy
from pipelines.promotion.promote import Order, Outcome
from pipelines.promotion.rollback import approve, rollback
from pipelines.promotion.verify import verify
from pipelines.settings import PipelineSettings
from pipelines.training.steps import run_promote
from stores.registry import DIGEST_TAG, Registry
from tests.support.commands import Commands
from tests.support.mlflow import MlflowServer
from tests.support.pipelines import Execution
from tests.support.processes import clean_environment
from tests.unit.pipelines.promotion.mortal import Life, mortal_mover

pytestmark = pytest.mark.slow


@pytest.fixture
def settings(own_settings: PipelineSettings) -> PipelineSettings:
    """Anna works on it."""
    return own_settings.model_copy(update={"user": "anna"})


@pytest.fixture
def careful(settings: PipelineSettings) -> PipelineSettings:
    """Promotions wait for a second person."""
    return settings.model_copy(update={"require_approval": True})


@pytest.fixture
def client(settings: PipelineSettings) -> MlflowClient:
    return MlflowClient(settings.mlflow_uri)


@pytest.fixture
def verified(settings: PipelineSettings) -> Callable[[], bool]:
    stores = open_stores(settings)
    return lambda: verify(stores.registry, stores.history, stores.releases).ok


def aliases(client: MlflowClient) -> dict[str, int]:
    return {name: int(version) for name, version in client.get_registered_model("fraud-ensemble").aliases.items()}


def moves(client: MlflowClient) -> list[dict[str, object]]:
    """The history as somebody reads it who has MLflow alone."""
    run = client.get_run(client.get_registered_model("fraud-ensemble").tags["fraud.history"])
    return [json.loads(value) for key, value in sorted(run.data.params.items()) if key.startswith("move-")]


def test_main_left_a_sound_registry(client: MlflowClient, settings: PipelineSettings, verified) -> None:
    (move,) = moves(client)
    assert {name: move[name] for name in ("kind", "alias", "from", "to", "gate")} == {
        "kind": "promote",
        "alias": "Production",
        "from": None,
        "to": 1,
        "gate": "passed",
    }
    assert verified()


def test_another_policy_is_another_version_of_the_same_model(
    executed: Execution, settings: PipelineSettings, client: MlflowClient, verified, tmp_path: Path
) -> None:
    promotion = set_policy(settings, "f1", "fewer alerts")
    assert promotion.outcome is Outcome.PROMOTED
    assert aliases(client) == {"Production": 2, "Previous": 1}
    registry = Registry(settings.mlflow_uri)
    one, two = (registry.bundle(registry.version(number)) for number in (1, 2))
    assert (one.onnx, one.booster, one.manifest.policies) == (two.onnx, two.booster, two.manifest.policies)
    assert (one.manifest.policy, two.manifest.policy) == ("recall_at_fpr", "f1")
    run = client.get_run(promotion.version.run_id)
    assert run.data.tags["fraud.policy_of"] == executed.run.id
    assert run.data.params["policy"] == "f1"
    assert run.data.metrics["test_average_precision"] == executed.run.data.data.metrics["test_average_precision"]
    assert run.data.metrics["test_recall"] == executed_policy(client, executed, "f1")["test_recall"]
    assert (moves(client)[-1]["kind"], moves(client)[-1]["why"]) == ("policy", "fewer alerts")

    assert set_policy(settings, "f1").outcome is Outcome.UNCHANGED
    # a later run that made the same model again, and registered nothing since it was Production
    client.create_run(executed.run.experiment_id, tags={DIGEST_TAG: one.digest, "fraud.done.threshold": "true"})
    back = set_policy(settings, "recall_at_fpr", "more alerts")
    assert (back.outcome, back.version.version) == (Outcome.PROMOTED, 1)
    assert set_policy(settings, "f1").version.version == 2
    assert verified()
    with pytest.raises(InvalidInput, match="no threshold policy 'lucky'"):
        set_policy(settings, "lucky")


def executed_policy(client: MlflowClient, executed: Execution, policy: str) -> dict[str, float]:
    children = (
        f"tags.`mlflow.parentRunId` = '{executed.run.id}' and params.policy = '{policy}' and tags.kind = 'policy'"
    )
    return dict(client.search_runs([executed.run.experiment_id], children)[0].data.metrics)


def test_force_needs_a_reason_and_is_told_for_ever(
    settings: PipelineSettings, careful: PipelineSettings, client: MlflowClient, verified
) -> None:
    candidate = set_policy(careful, "cost").version
    client.log_metric(candidate.run_id, "parity_max_difference", 0.1)
    refused = run_promote(settings, version=2)
    assert (refused.outcome, refused.production.version) == (Outcome.REFUSED, 1)
    assert "parity" in refused.sentence
    assert aliases(client) == {"Production": 1, "Challenger": 2}
    assert run_promote(settings, version=2).outcome is Outcome.REFUSED
    with pytest.raises(InvalidInput, match="needs a reason"):
        run_promote(settings, version=2, order=Order(force=True))
    forced = run_promote(settings, version=2, order=Order("the fraud wave cannot wait", force=True))
    assert forced.outcome is Outcome.PROMOTED
    assert "forced past the gate" in forced.sentence
    assert aliases(client) == {"Production": 2, "Previous": 1}
    assert [move["gate"] for move in moves(client)] == ["passed", "passed", "refused", "forced"]
    tags = client.get_model_version("fraud-ensemble", "2").tags
    assert tags["gate.forced"] == "anna: the fraud wave cannot wait"
    pointer = json.loads((Path(settings.releases) / "Production.json").read_text())
    assert (pointer["version"], pointer["gate"]["forced"]) == (2, tags["gate.forced"])
    assert verified()


def test_simulated_never_replaces_real_not_even_by_force(
    settings: PipelineSettings, careful: PipelineSettings, client: MlflowClient, verified, tmp_path: Path
) -> None:
    candidate = set_policy(careful, "cost").version
    twin = Path(client.download_artifacts(candidate.run_id, "twin", str(tmp_path)))
    manifest = json.loads((twin / "manifest.json").read_text())
    manifest["data"]["source"] = "simulated"
    (twin / "manifest.json").write_text(json.dumps(manifest))
    client.log_artifacts(candidate.run_id, str(twin), "twin")
    for _ in range(2):
        refused = run_promote(settings, version=2, order=Order("we have no time", force=True))
        assert (refused.outcome, refused.production.version) == (Outcome.REFUSED, 1)
    assert "Force does not override real data required: candidate: simulated, champion: file" in refused.sentence
    assert aliases(client) == {"Production": 1, "Challenger": 2}
    assert "gate.forced" not in client.get_model_version("fraud-ensemble", "2").tags
    tried = [move["why"] for move in moves(client) if move["kind"] == "challenge"]
    assert [why.startswith("force (we have no time) does not override real data required") for why in tried] == [
        True,
        True,
    ]
    assert verified()


def test_promote_registers_a_model_in_a_process_of_its_own(
    settings: PipelineSettings, client: MlflowClient, commands: Commands
) -> None:
    ours = {"MLFLOW_TRACKING_URI": "", "FRAUD_MODEL_NAME": "alone", "FRAUD_STATE_DIR": str(settings.state_dir)}
    done = commands.run("promote", environment=clean_environment(**ours))
    assert (done.returncode, "Production is now version 1" in done.stdout) == (0, True), done.stderr
    assert client.get_model_version_by_alias("alone", "Production").version in (1, "1")


class Killed(BaseException):
    """Nothing catches it, nothing is cleaned up for it."""


def die() -> None:
    raise Killed


def test_a_whole_promotion_killed_before_any_of_its_writes_is_completed_by_the_next(
    settings: PipelineSettings, client: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    mortal = settings.model_copy(update={"model_name": "mortal", "releases_uri": str(settings.state_dir / "mortal")})
    stores = open_stores(mortal)
    writes = 0
    while True:
        life = Life(writes, die)
        mover = mortal_mover(mortal.mlflow_uri, mortal.model_name, Path(mortal.releases), life)
        monkeypatch.setattr("pipelines.promotion.promote.open_mover", lambda _settings, mover=mover: mover)
        try:
            promotion = run_promote(mortal)
            break
        except Killed:
            writes += 1
    assert writes > 3
    assert promotion.outcome in (Outcome.PROMOTED, Outcome.UNCHANGED)
    # registered once, promoted once, whatever died on the way
    assert [version.version for version in client.search_model_versions("name = 'mortal'")] in ([1], ["1"])
    assert stores.registry.aliases() == {"Production": 1}
    assert [entry.move.to for entry in stores.history.read().entries] == [1]
    assert verify(stores.registry, stores.history, stores.releases).ok
    assert run_promote(mortal).outcome is Outcome.UNCHANGED


def test_a_second_person_approves(careful: PipelineSettings, client: MlflowClient, verified) -> None:
    waiting = set_policy(careful, "f1", "fewer alerts")
    assert (waiting.outcome, waiting.production.version) == (Outcome.WAITING, 1)
    assert "version 2 waits for approval (asked by anna)" in waiting.sentence
    assert run_promote(careful, version=2).outcome is Outcome.WAITING
    assert [move["kind"] for move in moves(client)] == ["promote", "request"]
    with pytest.raises(Refused, match="Another person must"):
        approve(open_mover(careful), 2, "I know best")
    approve(open_mover(careful.model_copy(update={"user": "bob"})), 2, "report read")
    assert aliases(client) == {"Production": 2, "Previous": 1}
    assert (moves(client)[-1]["who"], moves(client)[-1]["asked_by"]) == ("bob", "anna")
    assert verified()


def test_what_was_moved_past_the_gate_is_judged_after_a_rollback(
    settings: PipelineSettings, careful: PipelineSettings, client: MlflowClient, verified
) -> None:
    set_policy(careful, "f1")
    client.delete_model_version_tag("fraud-ensemble", "2", "gate.passed")
    client.set_registered_model_alias("fraud-ensemble", "production", "2")
    with pytest.raises(Refused, match="Version 2 is Production already, but was moved there past the gate"):
        run_promote(settings, version=2)
    rollback(open_mover(settings), "nobody judged it")
    assert run_promote(settings, version=2).outcome is Outcome.PROMOTED
    assert [move["kind"] for move in moves(client)] == ["promote", "request", "outside", "rollback", "promote"]
    assert verified()


def test_what_was_expected_must_be_so(settings: PipelineSettings, client: MlflowClient) -> None:
    with pytest.raises(LostRace, match="Production is version 1, not version 7"):
        run_promote(settings, order=Order(expect_current=7))
    assert run_promote(settings, order=Order(expect_current=1)).outcome is Outcome.UNCHANGED


def test_a_lost_release_is_published_again(settings: PipelineSettings, verified) -> None:
    shutil.rmtree(settings.releases)
    assert not verified()
    assert run_promote(settings).outcome is Outcome.UNCHANGED
    assert verified()


@pytest.fixture
def server(settings: PipelineSettings, tmp_path: Path) -> Iterator[str]:
    folder, store = tmp_path / "server", f"sqlite:///{settings.mlflow_database}"
    folder.mkdir()
    stores = {"_MLFLOW_SERVER_FILE_STORE": store, "_MLFLOW_SERVER_REGISTRY_STORE": store}
    with MlflowServer(folder, **stores) as started:
        started.wait_until_up()
        yield started.url


def test_of_two_promoters_at_once_one_wins(
    careful: PipelineSettings, client: MlflowClient, commands: Commands, server: str, tmp_path: Path, verified
) -> None:
    environment = clean_environment(MLFLOW_TRACKING_URI=server, FRAUD_STATE_DIR=str(tmp_path))
    start = partial(commands.start, environment=environment)
    for policy in ("f1", "cost"):
        set_policy(careful, policy)
    current = 1
    for _ in range(2):
        contenders = {1, 2, 3} - {current}
        running = {
            version: start("promote", "--version", str(version), "--expect-current", str(current))
            for version in contenders
        }
        said = {version: process.communicate(timeout=600) for version, process in running.items()}
        codes = {version: process.returncode for version, process in running.items()}
        assert sorted(codes.values()) == [0, 3], said
        winner, loser = sorted(codes, key=codes.__getitem__)
        assert f"Production is now version {winner}" in said[winner][0]
        assert "was first" in said[loser][1] or f"not version {current}" in said[loser][1]
        assert aliases(client) == {"Production": winner, "Previous": current}
        assert verified()
        current = winner
    shown, _ = start("history", "--json").communicate(timeout=600)
    assert len(json.loads(shown)["moves"]) == 3 + 2
    checked = start("verify")
    assert "released files" in checked.communicate(timeout=600)[0]
    assert checked.returncode == 0
    back, _ = start("rollback", "--reason", "test").communicate(timeout=600)
    assert f"again (before: version {current})" in back
