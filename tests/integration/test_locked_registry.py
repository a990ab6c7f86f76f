"""Production on an MLflow server with users, as each of them: who trains cannot promote, and no gateway is fooled."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator, expect

from stores.attestation import SigningKey, TrustedKeys
from stores.releases import POINTER
from tests.support.chromium import running_chromium
from tests.support.commands import Commands
from tests.support.gateway import Gateway
from tests.support.mlflow import LockedMlflow
from tests.support.pipelines import BANK_ROWS, transactions
from tests.support.processes import clean_environment

pytestmark = pytest.mark.slow

MODEL = "fraud-ensemble"
KEY = "the-promotions-secret-of-these-tests-only"
PUBLIC = SigningKey(KEY).public
WORKSPACE = "cards"
PATIENCE = 600
EVERYBODY = ("admin", "promotion", "scientist", "gateway")


@dataclass
class Bank:
    """A server with users and workspaces, and what they do in one of these."""

    folder: Path
    mlflow: LockedMlflow
    commands: Commands

    @property
    def releases(self) -> Path:
        return self.folder / "releases"

    def pipelines(self, user: str, *arguments: str, **extra: str) -> "subprocess.CompletedProcess[str]":
        """A command in a user's name; the promotion alone has the key."""
        settings = {
            "FRAUD_STATE_DIR": str(self.folder / user),
            "FRAUD_RELEASES_URI": str(self.releases),
            "FRAUD_TRUSTED_KEYS": PUBLIC,
            "FRAUD_USER": user,
            "FRAUD_REPLICATES": "100",
            "FRAUD_FOLDS": "2",
            "FRAUD_TUNING_ROWS": "2000",
            "FRAUD_THREADS": "1",
            **({"FRAUD_SIGNING_KEY": KEY} if user == "promotion" else {}),
            "MLFLOW_WORKSPACE": WORKSPACE,
            **self.mlflow.environment(user),
            **extra,
        }
        return self.commands.run(*arguments, environment=clean_environment(**settings), timeout=1200)

    def ask(self, user: str, method: str, path: str, body: dict[str, Any], prefix: str = "api") -> httpx.Response:
        """What a client sends (api), or MLflow's page (ajax-api)."""
        url = f"{self.mlflow.url}/{prefix}/2.0/mlflow/{path}"
        how = {"params": body} if method == "GET" else {"json": body}
        headers = {"X-MLFLOW-WORKSPACE": WORKSPACE}
        return httpx.request(method, url, auth=self.mlflow.credentials(user), headers=headers, timeout=60, **how)

    def get(self, user: str, path: str, **values: str) -> Any:
        answer = self.ask(user, "GET", path, values)
        assert answer.status_code == 200, answer.text
        return answer.json()

    @property
    def aliases(self) -> dict[str, str]:
        model = self.get("gateway", "registered-models/get", name=MODEL)["registered_model"]
        return {alias["alias"]: alias["version"] for alias in model.get("aliases", [])}

    @property
    def first(self) -> dict[str, str]:
        """What makes another version of version 1's files."""
        known = self.get("gateway", "model-versions/get", name=MODEL, version="1")["model_version"]
        model = known["source"].removeprefix("models:/")
        return {"source": known["source"], "run_id": known["run_id"], "model_id": model}

    @property
    def history_run(self) -> str:
        experiment = self.get("gateway", "experiments/get-by-name", experiment_name=f"{MODEL}-history")["experiment"]
        return str(next(tag["value"] for tag in experiment["tags"] if tag["key"] == "fraud.history.run"))


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory, commands: Commands) -> Iterator[Bank]:
    """Users with their roles, and a file to train on."""
    pytest.importorskip("flask_wtf", reason="MLflow's authentication needs Flask-WTF")
    folder = tmp_path_factory.mktemp("bank")
    (folder / "mlflow").mkdir()
    with LockedMlflow(folder / "mlflow", MLFLOW_ENABLE_WORKSPACES="true") as server:
        server.wait_until_up()
        admin = server.credentials("admin")
        workspaces = f"{server.url}/api/3.0/mlflow/workspaces"
        assert httpx.post(workspaces, json={"name": WORKSPACE}, auth=admin, timeout=60).is_success
        made = Bank(folder, server, commands)
        for role, (user, password) in server.secrets.users.items():
            file = folder / f"{user}.password"
            file.write_text(password)
            done = made.pipelines("admin", "access", "grant", role, user, "--password-file", str(file))
            assert (done.returncode, done.stdout) == (0, f"{user}: {role}\n"), done.stderr
        transactions(BANK_ROWS, seed=4).to_csv(folder / "bank.csv", index=False)
        yield made


@pytest.fixture(scope="module")
def trained(bank: Bank) -> Bank:
    done = bank.pipelines("scientist", "main", "--data", str(bank.folder / "bank.csv"), "--trials", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "There is still no Production; the candidate is registered as version 1." in done.stdout
    return bank


@pytest.fixture(scope="module")
def promoted(trained: Bank) -> Bank:
    done = trained.pipelines("promotion", "promote", "--version", "1", "--reason", "looked at it")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Production is now version 1." in done.stdout
    return trained


def test_users_see_what_they_may_do(bank: Bank) -> None:
    shown = bank.pipelines("admin", "access", "show", "--json")
    assert shown.returncode == 0, shown.stderr
    report = json.loads(shown.stdout)
    assert (report["locked"], report["promoters"]) == (True, ["admin", "promotion"])
    allowed = {user["user"]: (user["role"], user["model"], user["history"], user["runs"]) for user in report["users"]}
    assert allowed == {
        "admin": ("administrator", "MANAGE", "MANAGE", "MANAGE"),
        "promotion": ("promoter", "MANAGE", "MANAGE", "EDIT"),
        "scientist": ("data-scientist", "EDIT", "READ", "EDIT"),
        "gateway": ("reader", "READ", "READ", "READ"),
    }
    refused = bank.pipelines("scientist", "access", "grant", "promoter", "scientist")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(
        "error: scientist is not an administrator of the MLflow server at http://127.0.0.1"
    )


def test_a_data_scientist_registers_and_the_promotion_promotes(promoted: Bank) -> None:
    version = promoted.get("gateway", "model-versions/get", name=MODEL, version="1")["model_version"]
    tags = {tag["key"]: tag["value"] for tag in version["tags"]}
    assert (tags["gate.passed"], tags["gate.judged_by"], tags["promoted.by"]) == ("true", "promotion", "promotion")
    said = TrustedKeys([PUBLIC]).require(tags["gate.signature"], MODEL, 1, tags["bundle.sha256"])
    assert (said.gate, said.approved_by) == ("passed", "promotion")
    assert json.loads((promoted.releases / POINTER).read_text())["signature"] == tags["gate.signature"]
    again = promoted.pipelines("scientist", "promote", "--version", "1")
    assert again.returncode in (0, 1), again.stdout + again.stderr
    assert promoted.aliases == {"Production": "1"}
    rollback = promoted.pipelines("scientist", "rollback", "--to", "1", "--reason", "mine")
    assert promoted.aliases == {"Production": "1"}, rollback.stdout


def forbidden(bank: Bank) -> list[tuple[str, str, dict[str, Any]]]:
    """What only the promotion may do."""
    version = {"name": MODEL, "version": "1"}
    aliases = [
        ("POST", "registered-models/alias", {**version, "alias": alias})
        for alias in ("Production", "production", "PREVIOUS", "Previous")
    ]
    tags = [
        ("POST", "model-versions/set-tag", {**version, "key": key, "value": "true"})
        for key in ("bundle.sha256", "gate.passed", "gate.signature", "Gate.Forced", "promoted.at", "data.source")
    ]
    source = {"name": MODEL, "source": "models:/fraud-ensemble/1"}
    forged = {"key": "gate.passed", "value": "true"}
    run = {"run_id": bank.history_run}
    experiment = {"experiment_id": bank.get("gateway", "runs/get", **run)["run"]["info"]["experiment_id"]}
    return [
        *aliases,
        ("DELETE", "registered-models/alias", {"name": MODEL, "alias": "Production"}),
        *tags,
        ("DELETE", "model-versions/delete-tag", {**version, "key": "gate.passed"}),
        ("POST", "model-versions/create", {**source, "tags": [forged]}),
        ("DELETE", "model-versions/delete", version),
        ("POST", "model-versions/transition-stage", {**version, "stage": "Production"}),
        ("POST", "registered-models/rename", {"name": MODEL, "new_name": "mine"}),
        ("DELETE", "registered-models/delete", {"name": MODEL}),
        ("POST", "registered-models/set-tag", {"name": MODEL, "key": "fraud.moved.Production", "value": "2"}),
        ("POST", "registered-models/set-tag", {"name": MODEL, "key": "mlflow.prompt.is_prompt", "value": "true"}),
        ("DELETE", "registered-models/delete-tag", {"name": MODEL, "key": "fraud.history"}),
        ("POST", "runs/log-parameter", {**run, "key": "move-0099", "value": "{}"}),
        ("POST", "runs/set-tag", {**run, "key": "mlflow.note.content", "value": "nothing"}),
        ("POST", "runs/log-batch", {**run, "params": [{"key": "done-0001", "value": "{}"}]}),
        ("POST", "runs/delete", run),
        ("POST", "experiments/delete", experiment),
        ("POST", "experiments/update", {**experiment, "new_name": "gone"}),
        ("POST", "experiments/set-experiment-tag", {**experiment, "key": "fraud.history.run", "value": "x"}),
    ]


@pytest.mark.parametrize("prefix", ["api", "ajax-api"])
@pytest.mark.parametrize("user", ["scientist", "gateway"])
def test_what_is_locked_is_403_through_api_and_page(promoted: Bank, user: str, prefix: str) -> None:
    calls = forbidden(promoted)
    answers = {
        f"{method} {path} {body}": promoted.ask(user, method, path, body, prefix).status_code
        for method, path, body in calls
    }
    assert {call: status for call, status in answers.items() if status != 403} == {}
    assert promoted.aliases == {"Production": "1"}


def test_a_refusal_names_the_user_and_what_was_to_change(promoted: Bank) -> None:
    body = {"name": MODEL, "version": "1", "alias": "production"}
    answer = promoted.ask("scientist", "POST", "registered-models/alias", body, "ajax-api")
    said = answer.json()
    assert said["error_code"] == "PERMISSION_DENIED"
    assert said["message"] == (
        "scientist may not change the alias production: it takes the permission MANAGE of this model, which the "
        "promotion has."
    )


def test_everybody_reads_and_a_data_scientist_does_the_rest(promoted: Bank) -> None:
    for user in EVERYBODY:
        assert promoted.get(user, "registered-models/get", name=MODEL)["registered_model"]["name"] == MODEL
        assert promoted.get(user, "runs/get", run_id=promoted.history_run)["run"]["data"]["params"]
        current = promoted.get(user, "users/current")
        assert (current["user"]["username"], current["is_basic_auth"]) == (user, True)
    version = {"name": MODEL, "version": "1"}
    for path, body in (
        ("model-versions/set-tag", {**version, "key": "owner", "value": "scientist"}),
        ("registered-models/alias", {**version, "alias": "Candidate"}),
        ("experiments/create", {"name": "an idea"}),
    ):
        assert promoted.ask("scientist", "POST", path, body).status_code == 200, path
        assert path == "experiments/create" or promoted.ask("gateway", "POST", path, body).status_code == 403, path
    named = {"name": MODEL, "alias": "Candidate"}
    assert promoted.ask("promotion", "DELETE", "registered-models/alias", named).status_code == 200


def test_a_gateway_serves_what_the_promotion_signed_and_nothing_else(promoted: Bank, tmp_path: Path) -> None:
    """Against an administrator, who may do everything in MLflow, and against whoever may write to the releases."""
    reader = {"MLFLOW_WORKSPACE": WORKSPACE, **promoted.mlflow.environment("gateway")}
    settings = {"FRAUD_RELEASES_URI": str(promoted.releases), "FRAUD_TRUSTED_KEYS": PUBLIC, "FRAUD_SHADOW_SHARE": "1"}
    settings |= {"MLFLOW_HTTP_REQUEST_TIMEOUT": "60", "FRAUD_ANSWER_SECONDS": "60"}
    # the same files once more, as version 2, with a verdict that an administrator wrote and version 1's signature
    made = promoted.ask("admin", "POST", "model-versions/create", {"name": MODEL, **promoted.first})
    assert made.status_code == 200, made.text
    second = made.json()["model_version"]["version"]
    tags = promoted.get("gateway", "model-versions/get", name=MODEL, version="1")["model_version"]["tags"]
    for tag in tags:
        promoted.ask("admin", "POST", "model-versions/set-tag", {"name": MODEL, "version": second, **tag})
    with Gateway(tmp_path, **reader, **settings) as gateway:
        gateway.wait_for_version(1, PATIENCE)

        def name(alias: str, version: str) -> None:
            body = {"name": MODEL, "version": version, "alias": alias}
            assert promoted.ask("admin", "POST", "registered-models/alias", body).status_code == 200

        try:
            name("Production", second)
            gateway.wait_until(lambda: "FRAUD_TRUSTED_KEYS" in str(gateway.ready()["trouble"]), PATIENCE)
            said = gateway.ready()
            assert said["model_version"] == "1"
            assert said["trouble"]["message"] == (
                f"Version {second} cannot go live: FRAUD_TRUSTED_KEYS is set. Its signature is of version 1 of "
                f"fraud-ensemble with the digest {said['digest'][:12]}…. Roll back, or promote it with the "
                "promotion's key (FRAUD_SIGNING_KEY)."
            )
            assert gateway.client.get("/health").json()["trouble"] == said["trouble"]["message"]
            assert "FRAUD_TRUSTED_KEYS is set" in gateway.log.read_text()
        finally:
            name("Production", "1")
        gateway.wait_until(lambda: gateway.ready()["trouble"] is None, PATIENCE)

    # MLflow away, and a pointer that somebody else wrote
    pointer = promoted.releases / POINTER
    genuine = pointer.read_text()
    away = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", **settings}
    try:
        for change in ({"version": 7}, {"signature": None}):
            pointer.write_text(json.dumps(json.loads(genuine) | change))
            with Gateway(tmp_path, **away) as gateway:  # the same state folder: its cache holds the bundle
                gateway.wait_until(lambda: "FRAUD_TRUSTED_KEYS" in gateway.ready().get("detail", ""), PATIENCE)
                assert gateway.client.get("/health").json()["model_loaded"] is False
    finally:
        pointer.write_text(genuine)
    with Gateway(tmp_path, **away) as gateway:
        gateway.wait_for_version(1, PATIENCE)
        assert gateway.ready()["named_by"] == "release pointer"


def test_settings_that_cannot_be_used_are_one_line_each(bank: Bank) -> None:
    missing = str(bank.folder / "none.pub")
    for arguments, extra, words in (
        (("access", "show"), {"FRAUD_TRUSTED_KEYS": "ed25519:short"}, "'ed25519:short', which is not a public key"),
        (("access", "show"), {"FRAUD_TRUSTED_KEYS": missing}, "cannot be read: No such file or directory"),
        (("access", "show"), {"FRAUD_SIGNING_KEY": "short"}, "it needs at least 32 characters"),
        (("access", "key"), {}, "There is no FRAUD_SIGNING_KEY."),
        (("access", "show"), {"MLFLOW_TRACKING_PASSWORD": "wrong"}, "rejects the user 'admin'"),
        (("access", "grant", "reader", "nobody"), {}, "MLflow has no user 'nobody'."),
        (("access", "grant", "reader", "admin"), {}, "'admin' is an administrator, whom no role restricts"),
        (("access", "show"), {"MLFLOW_TRACKING_URI": ""}, "Only an MLflow server has permissions."),
    ):
        done = bank.pipelines("admin", *arguments, **extra)
        assert done.returncode == 2, (arguments, done.stdout, done.stderr)
        [line] = done.stderr.splitlines()
        assert words in line
    shown = bank.pipelines("promotion", "access", "key")
    assert (shown.returncode, shown.stdout) == (0, f"{PUBLIC}\n")


def test_mlflows_page_refuses_in_words_and_leaves_the_rest(promoted: Bank) -> None:
    user, password = promoted.mlflow.credentials("scientist")
    before = promoted.aliases
    made = promoted.ask("scientist", "POST", "model-versions/create", {"name": MODEL, **promoted.first})
    assert made.status_code == 200, made.text
    plain = made.json()["model_version"]["version"]
    with running_chromium() as browser:
        known = browser.new_context(http_credentials={"username": user, "password": password})
        page = known.new_page()
        page.set_default_timeout(120_000)

        def add(alias: str, version: str) -> Locator:
            page.goto(f"{promoted.mlflow.url}/#/models/{MODEL}/versions/{version}?workspace={WORKSPACE}")
            page.get_by_role("button", name="Add", exact=True).or_(
                page.get_by_role("button", name="Edit aliases")
            ).first.click()
            dialog = page.get_by_role("dialog").filter(has_text="alias")
            dialog.get_by_role("combobox").fill(alias)
            dialog.get_by_role("combobox").press("Enter")
            dialog.get_by_role("button", name="Save aliases").click()
            return dialog

        # the page writes names in small letters: beside a new alias, it moves version 1's to "production"
        for alias, version in (("Production", plain), ("candidate", "1")):
            refused = "scientist may not change the alias production: it takes the permission MANAGE of this model"
            expect(add(alias, version)).to_contain_text(re.compile(refused, re.I), timeout=120_000)
            assert promoted.aliases.get("Production") == before["Production"]
            page.reload()
        expect(add("candidate", plain)).to_be_hidden(timeout=120_000)
        assert promoted.aliases["candidate"] == plain
    named = {"name": MODEL, "alias": "candidate"}
    assert promoted.ask("promotion", "DELETE", "registered-models/alias", named).status_code == 200


def test_the_lock_holds_without_workspaces_too(tmp_path: Path, commands: Commands) -> None:
    """Where everybody reads by the server's default, and nobody is a member of anything."""
    with LockedMlflow(tmp_path) as server:
        server.wait_until_up()
        environment = clean_environment(FRAUD_STATE_DIR=str(tmp_path / "state"), **server.environment("admin"))
        password = tmp_path / "password"
        password.write_text(server.credentials("scientist")[1])
        arguments = ("access", "grant", "data-scientist", "scientist", "--password-file", str(password))
        done = commands.run(*arguments, environment=environment, timeout=600)
        assert done.returncode == 0, done.stderr
        api = f"{server.url}/ajax-api/2.0/mlflow"

        def ask(method: str, path: str, **body: object) -> httpx.Response:
            return httpx.request(method, f"{api}/{path}", json=body, auth=server.credentials("scientist"), timeout=60)

        found = httpx.get(
            f"{api}/experiments/get-by-name?experiment_name=fraud-detection", auth=server.credentials("admin")
        )
        run = ask("POST", "runs/create", experiment_id=found.json()["experiment"]["experiment_id"]).json()["run"][
            "info"
        ]
        source = f"{run['artifact_uri']}/model"
        made = ask("POST", "model-versions/create", name=MODEL, run_id=run["run_id"], source=source)
        assert made.status_code == 200, made.text
        for method, path, body in (
            ("POST", "registered-models/alias", {"version": "1", "alias": "Production"}),
            ("DELETE", "registered-models/alias", {"alias": "Production"}),
            ("POST", "model-versions/set-tag", {"version": "1", "key": "gate.passed", "value": "true"}),
            ("DELETE", "model-versions/delete", {"version": "1"}),
            ("POST", "registered-models/rename", {"new_name": "mine"}),
        ):
            assert ask(method, path, name=MODEL, **body).status_code == 403, path
