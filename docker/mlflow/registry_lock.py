"""Changes of a registered model for which MLflow wants EDIT of it, and which here take MANAGE.

With EDIT a person registers versions; MLflow lets the same person move any alias, set any tag and rename the model.
Whoever trains could promote. This module keeps EDIT for registering and asks for MANAGE, which the promoter has, where
a change decides or says what is live. Everything else is left to MLflow's own permissions.

It is MLflow's ``authorization_function`` (auth configuration): called with each request, before MLflow's own checks.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any, Final

from flask import Response, after_this_request, request
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow.protos.model_registry_pb2 import (
    CreateModelVersion,
    DeleteRegisteredModelAlias,
    DeleteRegisteredModelTag,
    RenameRegisteredModel,
    SetModelVersionTag,
    SetRegisteredModelAlias,
    SetRegisteredModelTag,
    TransitionModelVersionStage,
)
from mlflow.server import auth
from mlflow.server.auth.requirements import Requirement
from mlflow.server.handlers import _get_request_message, get_endpoints
from werkzeug.datastructures import Authorization

ALIASES: Final = ("production", "previous")
"""In lower case: the platform resolves aliases without regard to case."""

TAG_PREFIXES: Final = ("bundle.", "gate.", "promoted.", "rolled_back.", "data.")
"""Tags of a version from which the platform decides: its files, verdict, past, and the origin of its data."""

HEADER: Final = "X-Registry-Lock"
"""On every answer, so that `python -m pipelines access show` can say whether this module is at work."""

MODEL: Final = "registered_model"


def _names_an_alias(message: Any) -> str:
    return f"the alias {message.alias}" if message.alias.lower() in ALIASES else ""


def _names_a_tag(keys: Iterable[str]) -> str:
    return next((f"the tag {key}" for key in keys if key.lower().startswith(TAG_PREFIXES)), "")


LOCKED: Final[dict[Any, Callable[[Any], str]]] = {
    SetRegisteredModelAlias: _names_an_alias,
    # MLflow asks for MANAGE itself, but its page shows INTERNAL_ERROR for such an answer
    DeleteRegisteredModelAlias: _names_an_alias,
    SetModelVersionTag: lambda message: _names_a_tag([message.key]),
    CreateModelVersion: lambda message: _names_a_tag(tag.key for tag in message.tags),
    TransitionModelVersionStage: lambda message: f"the stage {message.stage}",
    SetRegisteredModelTag: lambda message: f"the model's tag {message.key}",
    DeleteRegisteredModelTag: lambda message: f"the model's tag {message.key}",
    RenameRegisteredModel: lambda message: f"the model's name to {message.new_name}",
}
"""By request: what it would change that is locked, empty for nothing."""

_ROUTES: Final = {
    (path, method): kind
    for kind in LOCKED
    for path, known, methods in get_endpoints(lambda asked: asked)
    for method in methods
    if known is kind
}


def authorize() -> Authorization | Response:
    """Let a request in by MLflow's own means, unless it changes what is locked without MANAGE.

    Raises
    ------
    MlflowException
        PERMISSION_DENIED, which MLflow answers with 403.
    """
    after_this_request(_mark)
    caller = auth.authenticate_request_basic_auth()
    if isinstance(caller, Response) or request.url_rule is None:
        return caller
    kind = _ROUTES.get((request.url_rule.rule, request.method))
    changed = LOCKED[kind](_get_request_message(kind())) if kind else ""
    if changed and not _manages(str(caller.username)):
        raise MlflowException(
            f"{caller.username} may not change {changed}: it takes the permission MANAGE of this model, which the "
            "promotion has.",
            PERMISSION_DENIED,
        )
    return caller


def _manages(username: str) -> bool:
    target = auth._registered_model_or_prompt_target()
    # no such model is for MLflow to say, and prompts are none of ours
    if target is None or target[0] != MODEL or auth.store.get_user(username).is_admin:
        return True
    return auth.authorize(username, target, [Requirement(*target, "manage")])


def _mark(response: Response) -> Response:
    response.headers[HEADER] = "on"
    if request.path.endswith("/users/current") and response.is_json:
        # it is basic authentication still: else MLflow's page would hide logging out and changing one's password
        response.data = json.dumps({**(response.json or {}), "is_basic_auth": True})
    return response
