"""Who may train, who may promote and who reads: MLflow's own roles for each, made and shown.

MLflow knows permissions of a registered model and of an experiment, no finer. They lock the history (an experiment of
its own) and keep versions from being deleted; that EDIT registers a version without moving an alias, its server must
be started with `docker/mlflow/registry_lock.py`. A server that was says so in a header of each answer.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from ml_project.errors import Forbidden, InvalidInput
from pipelines.console import Table
from pipelines.settings import PipelineSettings
from pipelines.tracking import Tracker
from stores.error_text import masked
from stores.history import History, history_name
from stores.mlflow_client import translated
from stores.registry import Registry

LOCK_HEADER: Final = "X-Registry-Lock"
"""On the answers of a server that asks for MANAGE where a change says what is live."""

_USERS: Final = "/api/2.0/mlflow/users"
_PERMISSIONS: Final = "/api/3.0/mlflow/users/permissions"
_ROLES: Final = "/api/3.0/mlflow/roles"
_MODEL, _EXPERIMENT = "registered_model", "experiment"
_OK, _UNAUTHORISED, _FORBIDDEN, _NOT_FOUND = 200, 401, 403, 404


class AccessRole(StrEnum):
    """What a user is to the platform."""

    PROMOTER = "promoter"
    DATA_SCIENTIST = "data-scientist"
    READER = "reader"


class Grant(NamedTuple):
    """One of MLflow's grants."""

    resource_type: str
    resource_pattern: str
    permission: str


class Resources(NamedTuple):
    """What the platform's permissions are about: the model, the history's experiment, and those of runs."""

    model: str
    history: str
    runs: tuple[str, ...]

    @property
    def all(self) -> tuple[tuple[str, str], ...]:
        """Type and id of each."""
        return ((_MODEL, self.model), (_EXPERIMENT, self.history), *((_EXPERIMENT, each) for each in self.runs))


def grants_of(role: AccessRole, resources: Resources) -> frozenset[Grant]:
    """MLflow's grants that make up a role.

    Everybody reads everything, also where the server's ``default_permission`` or workspaces would not let them.
    """
    reading = {Grant(_EXPERIMENT, "*", "READ"), Grant(_MODEL, "*", "READ")}
    if role is AccessRole.READER:
        return frozenset(reading)
    # USE of the workspace is what making experiments of one's own takes where workspaces are switched on
    training = {Grant(_EXPERIMENT, each, "EDIT") for each in resources.runs} | {Grant("workspace", "*", "USE")}
    if role is AccessRole.DATA_SCIENTIST:
        return frozenset(reading | training | {Grant(_MODEL, resources.model, "EDIT")})
    deciding = {Grant(_MODEL, resources.model, "MANAGE"), Grant(_EXPERIMENT, resources.history, "MANAGE")}
    return frozenset(reading | training | deciding)


@dataclass(frozen=True)
class UserAccess:
    """What the server lets a user do, as it says itself: a permission's name for each resource."""

    user: str
    role: str
    model: str
    history: str
    runs: str


@dataclass(frozen=True)
class AccessReport:
    """Who may do what.

    Attributes
    ----------
    locked : bool
        Whether the server asks for MANAGE where a change says what is live.
    everybody : bool
        Whether all users were asked about, not only the one who asks.
    """

    server: str
    locked: bool
    users: tuple[UserAccess, ...]
    everybody: bool

    @property
    def promoters(self) -> tuple[str, ...]:
        """Users who may move Production."""
        deciding = ("MANAGE",) if self.locked else ("MANAGE", "EDIT")
        return tuple(user.user for user in self.users if user.model in deciding)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        users = [{**vars(user)} for user in self.users]
        return {"server": self.server, "locked": self.locked, "promoters": list(self.promoters), "users": users}

    def to_table(self) -> Table:
        """For a terminal."""
        table = Table(("user", "role", "model", "history", "runs"), caption=self.sentence)
        for each in self.users:
            table.add_row(each.user, each.role or "-", each.model, each.history, each.runs)
        return table

    @property
    def sentence(self) -> str:
        """Who may move Production, and whether that holds."""
        who = ", ".join(self.promoters) or ("no user" if self.everybody else "not you")
        asked = "" if self.everybody else " Only administrators see other users."
        if self.locked:
            return f"Production is locked: whoever has MANAGE of the model moves it ({who}).{asked}"
        return f"Production is not locked: whoever has EDIT of the model moves it ({who}).{asked}"


class Access:
    """The permissions of one registered model and its experiments on an MLflow server with users.

    Raises
    ------
    InvalidInput
        When there is no server, or it has no users.
    Unavailable
        When it does not answer, or does not let this user in.
    """

    def __init__(self, settings: PipelineSettings) -> None:
        if not settings.mlflow_server:
            raise InvalidInput("Only an MLflow server has permissions.", "Set FRAUD_TRACKING_URI to its address.")
        self._settings, self._uri = settings, settings.mlflow_uri
        status, me, headers = self._answer("GET", f"{_USERS}/current")
        if status == _NOT_FOUND:
            raise InvalidInput(
                f"The MLflow server at {masked(self._uri)} has no users.", "Start it with --app-name basic-auth."
            )
        self._me: dict[str, Any] = me["user"]
        self._locked = LOCK_HEADER in headers

    def grant(self, role: AccessRole, users: Iterable[str], password: str = "") -> None:
        """Give users a role, in place of any other that they have here.

        What it is about is made first, so that nobody owns it by having made it: the registered model, its history,
        the experiments of runs. Safe to run again.

        Parameters
        ----------
        password : str
            Of users that do not exist yet.

        Raises
        ------
        InvalidInput
            When a user does not exist and there is no password.
        Forbidden
            When this user is no administrator.
        """
        if not self._me["is_admin"]:
            raise Forbidden(
                f"{self._me['username']} is not an administrator of the MLflow server at {masked(self._uri)}.",
                "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to one's.",
            )
        known = {user["username"]: user for user in self._users()}
        wanted = list(dict.fromkeys(users))
        missing = [user for user in wanted if user not in known]
        if missing and not password:
            raise InvalidInput(f"MLflow has no user {missing[0]!r}.", "Give --password-file, or sign them up first.")
        for user in wanted:
            if known.get(user, {}).get("is_admin"):
                raise InvalidInput(f"{user!r} is an administrator, whom no role restricts.", "Name another user.")
        for user in missing:
            self._ask("POST", f"{_USERS}/create", username=user, password=password)
        resources = self._made()
        roles = {each: self._role(each, grants_of(each, resources)) for each in AccessRole}
        for user in wanted:
            held = {held["id"] for held in known.get(user, {}).get("roles", [])}
            if roles[role] not in held:
                self._ask("POST", f"{_ROLES}/assign", username=user, role_id=roles[role])
            for other in held.intersection(roles.values()) - {roles[role]}:
                self._ask("DELETE", f"{_ROLES}/unassign", username=user, role_id=other)
            self._take_own_grants(user, resources)

    def report(self) -> AccessReport:
        """Who may do what, as the server resolves it; other users only for administrators."""
        resources = self._resources()
        users = self._users() if self._me["is_admin"] else [self._me]
        found = []
        for user in users:
            name = user["username"]
            if user["is_admin"]:
                found.append(UserAccess(name, "administrator", *["MANAGE"] * 3))
                continue
            model, history, *runs = (self._permission(name, *each) for each in resources.all)
            role = self._role_of(user.get("roles", []))
            found.append(UserAccess(name, role, model, history, ", ".join(dict.fromkeys(runs))))
        return AccessReport(masked(self._uri), self._locked, tuple(found), bool(self._me["is_admin"]))

    def _made(self) -> Resources:
        Registry(self._uri, self._settings.model_name).require_model()
        history = History(self._uri, self._settings.model_name)
        if not history.run_id:
            raise RuntimeError("the history run has no id")
        for name in self._names_of_runs:
            _ = Tracker(self._settings.model_copy(update={"experiment": name})).experiment_id
        return self._resources()

    @property
    def _names_of_runs(self) -> tuple[str, ...]:
        settings = self._settings
        return tuple(dict.fromkeys((settings.experiment, settings.monitoring_experiment, settings.scoring_experiment)))

    def _resources(self) -> Resources:
        """By id; an experiment that was not made yet has an id that none has."""
        from mlflow.tracking import MlflowClient

        client, model = MlflowClient(self._uri), self._settings.model_name
        with translated(self._uri):
            found = [client.get_experiment_by_name(each) for each in (history_name(model), *self._names_of_runs)]
        history, *runs = ("-" if each is None else str(each.experiment_id) for each in found)
        return Resources(model, history, tuple(runs))

    def _role(self, role: AccessRole, wanted: frozenset[Grant]) -> int:
        """The id of a role with exactly these grants, made or mended."""
        workspace, name = _workspace(), self._role_name(role)
        roles = self._ask("GET", f"{_ROLES}/list", workspace=workspace)["roles"]
        found = next((each for each in roles if each["name"] == name), None)
        if found is None:
            found = self._ask("POST", f"{_ROLES}/create", workspace=workspace, name=name)["role"]
        number = int(found["id"])
        there = {Grant(*(each[part] for part in Grant._fields)): each["id"] for each in found.get("permissions", [])}
        for grant in sorted(wanted - there.keys()):
            self._ask("POST", f"{_ROLES}/permissions/add", role_id=number, **grant._asdict())
        for grant in there.keys() - wanted:
            self._ask("DELETE", f"{_ROLES}/permissions/remove", role_permission_id=there[grant])
        return number

    def _role_name(self, role: AccessRole) -> str:
        return f"{self._settings.model_name}-{role}"

    def _role_of(self, held: Iterable[Mapping[str, Any]]) -> str:
        names = {each["name"] for each in held}
        return ", ".join(role for role in AccessRole if self._role_name(role) in names)

    def _take_own_grants(self, user: str, resources: Resources) -> None:
        """MLflow gives MANAGE to whoever made something: a role is worth nothing beside it."""
        ours = set(resources.all)
        for each in self._ask("GET", f"{_PERMISSIONS}/list", username=user)["permissions"]:
            of = each["resource_type"], each["resource_pattern"]
            if each["role_name"].startswith("__user_") and of in ours and each["workspace"] == _workspace():
                body = {"username": user, "resource_type": of[0], "resource_id": of[1]}
                self._ask("POST", f"{_PERMISSIONS}/revoke", **body)

    def _permission(self, user: str, resource_type: str, resource_id: str) -> str:
        asked = {"username": user, "resource_type": resource_type, "resource_id": resource_id}
        return str(self._ask("GET", f"{_PERMISSIONS}/get", **asked)["permission"])

    def _users(self) -> list[dict[str, Any]]:
        users: list[dict[str, Any]] = self._ask("GET", f"{_USERS}/list")["users"]
        return users

    def _ask(self, method: str, path: str, **values: Any) -> Any:
        status, content, _ = self._answer(method, path, **values)
        if status == _NOT_FOUND:
            raise InvalidInput(f"The MLflow server at {masked(self._uri)} does not know {path}.", "Use MLflow 3.17.")
        return content

    def _answer(self, method: str, path: str, **values: Any) -> tuple[int, Any, Mapping[str, str]]:
        """Status, content and headers of an answer; what it refuses is one clear error."""
        from mlflow.exceptions import MlflowException
        from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, PERMISSION_DENIED, UNAUTHENTICATED
        from mlflow.utils.credentials import get_default_host_creds
        from mlflow.utils.rest_utils import http_request

        with translated(self._uri):
            how = {"params": values} if method == "GET" else {"json": values}
            creds = get_default_host_creds(self._uri)  # type: ignore[no-untyped-call]
            answer = http_request(creds, path, method, raise_on_status=False, **how)  # type: ignore[no-untyped-call]
            if answer.status_code in (_OK, _NOT_FOUND):
                content = answer.json() if answer.status_code == _OK and answer.content else {}
                return answer.status_code, content, answer.headers
            codes = {_UNAUTHORISED: UNAUTHENTICATED, _FORBIDDEN: PERMISSION_DENIED}
            raise MlflowException(answer.text[:300], codes.get(answer.status_code, INTERNAL_ERROR))


def _workspace() -> str:
    """The workspace of this process, by MLflow's own variable."""
    return os.environ.get("MLFLOW_WORKSPACE", "").strip() or "default"
