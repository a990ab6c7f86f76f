"""moto's server, with the operations added that Terraform wants of it and that it lacks; ``argv`` is moto_server's."""

import json
import sys
import time
import uuid
from typing import Any

from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.budgets.models import budgets_backends
from moto.budgets.responses import BudgetsResponse
from moto.ecs.models import EC2ContainerServiceBackend, Task
from moto.logs.models import logs_backends
from moto.logs.responses import LogsResponse
from moto.server import main

searches: dict[str, dict[str, Any]] = {}
budget_tags: dict[str, list[dict[str, str]]] = {}
create_budget_without_tags = BudgetsResponse.create_budget
target_tags: dict[str, dict[str, str]] = {}
register_target_without_tags = ApplicationAutoScalingResponse.register_scalable_target


def put_query_definition(self: LogsResponse) -> str:
    """Keep a saved search."""
    body = json.loads(self.body)
    identifier = body.get("queryDefinitionId") or str(uuid.uuid4())
    searches[identifier] = {**body, "queryDefinitionId": identifier}
    return json.dumps({"queryDefinitionId": identifier})


def describe_query_definitions(self: LogsResponse) -> str:
    """All saved searches whose name begins so."""
    prefix = json.loads(self.body).get("queryDefinitionNamePrefix") or ""
    return json.dumps({"queryDefinitions": [one for one in searches.values() if one["name"].startswith(prefix)]})


def delete_query_definition(self: LogsResponse) -> str:
    """Forget one."""
    return json.dumps({"success": searches.pop(json.loads(self.body)["queryDefinitionId"], None) is not None})


def describe_subscribers_for_notification(self: BudgetsResponse) -> str:
    """Who hears of a budget's threshold."""
    body = json.loads(self.body)
    budget = budgets_backends[self.current_account][self.partition].budgets[body["AccountId"]][body["BudgetName"]]
    wanted = body["Notification"]
    found = [one for one in budget.notifications if all(one.details.get(name) == wanted[name] for name in wanted)]
    return json.dumps({"Subscribers": [subscriber for one in found for subscriber in one.subscribers]})


def create_budget(self: BudgetsResponse) -> str:
    """Keep the tags too."""
    body = json.loads(self.body)
    budget_tags[body["Budget"]["BudgetName"]] = body.get("ResourceTags") or []
    return create_budget_without_tags(self)


def list_tags_for_resource(self: BudgetsResponse) -> str:
    """A budget's tags; its ARN ends in its name."""
    return json.dumps({"ResourceTags": budget_tags[json.loads(self.body)["ResourceARN"].rpartition("/")[2]]})


def register_scalable_target(self: ApplicationAutoScalingResponse) -> str:
    """Keep the tags too."""
    answer = register_target_without_tags(self)
    target_tags.setdefault(json.loads(answer)["ScalableTargetARN"], json.loads(self.body).get("Tags") or {})
    return answer


def tags_of_target(self: ApplicationAutoScalingResponse) -> str:
    """What Terraform asks of what it has registered."""
    return json.dumps({"Tags": target_tags[json.loads(self.body)["ResourceARN"]]})


run_task_without_end = EC2ContainerServiceBackend.run_task


def run_task(self: EC2ContainerServiceBackend, *arguments: Any, **named: Any) -> list[Task]:
    """A task that is over at once, with exit code 0 and a line in its log."""
    definition = self.describe_task_definition(arguments[1])
    (container,) = definition.container_definitions
    container["memory"] = 0  # on Fargate the task has it; moto wants the container's
    tasks = run_task_without_end(self, *arguments, **named)
    del container["memory"]
    for task in tasks:
        task.last_status = task.desired_status = "STOPPED"
        options = container["logConfiguration"]["options"]
        logs = logs_backends[self.account_id][self.region_name]
        stream = f"{options['awslogs-stream-prefix']}/job/{task.id}"
        logs.create_log_stream(options["awslogs-group"], stream)
        line = {"timestamp": int(time.time() * 1000), "message": f"{definition.family} ran"}
        logs.put_log_events(options["awslogs-group"], stream, [line])
    return tasks


for owner, name, function in (
    (EC2ContainerServiceBackend, "run_task", run_task),
    (ApplicationAutoScalingResponse, "register_scalable_target", register_scalable_target),
    (ApplicationAutoScalingResponse, "list_tags_for_resource", tags_of_target),
    (BudgetsResponse, "create_budget", create_budget),
    (BudgetsResponse, "list_tags_for_resource", list_tags_for_resource),
    (BudgetsResponse, "describe_subscribers_for_notification", describe_subscribers_for_notification),
    (LogsResponse, "put_query_definition", put_query_definition),
    (LogsResponse, "describe_query_definitions", describe_query_definitions),
    (LogsResponse, "delete_query_definition", delete_query_definition),
):
    setattr(owner, name, function)

if __name__ == "__main__":
    main(sys.argv[1:])
