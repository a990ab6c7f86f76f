"""Say which image the gateway runs, wait until it is the one that answers, or put another one in its place.

Works on both computes and needs no more than the role GitHubActionsRole. It asks the service itself: Terraform's state
says what was applied, not what a deployment went back to. The next apply sets the digest that it is given.

    python deploy/live_image.py show                  # --allow-missing: an empty line where there is no service yet
    python deploy/live_image.py wait sha256:…         # until nothing else answers
    python deploy/live_image.py put sha256:…

Exit codes: 0 done, 1 there is no such service or revision or it did not become steady, 2 usage.
"""

import argparse
import re
import sys
import time
from typing import Any, Final, Protocol

import boto3

_DIGEST: Final = r"sha256:[0-9a-f]{64}"
_PAUSE: Final = 5.0


class ImageError(Exception):
    """Why the image cannot be told or exchanged."""


class MissingServiceError(ImageError):
    """There is no gateway on either compute."""


class Compute(Protocol):
    """Where the gateway runs."""

    def image(self) -> str:
        """Repository and digest of what answers; while one is being exchanged, the one that is known to be well."""

    def put(self, digest: str) -> None:
        """Begin to run another digest."""

    def steady(self, digest: str) -> bool:
        """Whether that digest alone answers; raises ImageError when it was given up."""


class AppRunner:
    """The service on App Runner, which turns traffic over when an exchange is done and goes back by itself."""

    def __init__(self, arn: str) -> None:
        self._client = boto3.client("apprunner")
        self._arn = arn

    @classmethod
    def find(cls, name: str) -> "AppRunner | None":
        """The service of that name, if there is one."""
        client, token = boto3.client("apprunner"), {}
        while True:
            page = client.list_services(**token)
            for one in page["ServiceSummaryList"]:
                if one["ServiceName"] == name:
                    return cls(one["ServiceArn"])
            if not page.get("NextToken"):
                return None
            token = {"NextToken": page["NextToken"]}

    def _service(self) -> dict[str, Any]:
        service: dict[str, Any] = self._client.describe_service(ServiceArn=self._arn)["Service"]
        return service

    def image(self) -> str:
        """Repository and digest of what answers."""
        return str(self._service()["SourceConfiguration"]["ImageRepository"]["ImageIdentifier"])

    def put(self, digest: str) -> None:
        """Begin to run another digest, everything else as it is."""
        source = self._service()["SourceConfiguration"]
        repository = source["ImageRepository"]
        repository["ImageIdentifier"] = f"{repository['ImageIdentifier'].split('@')[0]}@{digest}"
        self._client.update_service(ServiceArn=self._arn, SourceConfiguration=source)

    def steady(self, digest: str) -> bool:
        """RUNNING, with that image."""
        service = self._service()
        if service["Status"] == "RUNNING" and not self.image().endswith(f"@{digest}"):
            raise ImageError("App Runner runs another image: the new one did not become healthy, or was not deployed")
        if service["Status"].endswith("_FAILED"):
            raise ImageError(f"the service is {service['Status']}")
        return bool(service["Status"] == "RUNNING")


class Ecs:
    """The service on ECS, whose task definition's former revisions are kept."""

    def __init__(self, cluster: str, name: str) -> None:
        self._client = boto3.client("ecs")
        self._cluster, self._name = cluster, name

    def _service(self) -> dict[str, Any]:
        found = self._client.describe_services(cluster=self._cluster, services=[self._name])["services"]
        active = [one for one in found if one["status"] == "ACTIVE"]
        if not active:
            raise MissingServiceError(f"there is no service {self._name}, neither on App Runner nor on ECS")
        service: dict[str, Any] = active[0]
        return service

    def _image_of(self, definition: str) -> str:
        described = self._client.describe_task_definition(taskDefinition=definition)["taskDefinition"]
        return str(described["containerDefinitions"][0]["image"])

    def image(self) -> str:
        """Repository and digest of the latest deployment that was completed."""
        service = self._service()
        completed = (one for one in service["deployments"] if one.get("rolloutState", "COMPLETED") == "COMPLETED")
        latest = max(completed, key=lambda one: one["createdAt"], default=service)
        return self._image_of(latest["taskDefinition"])

    def put(self, digest: str) -> None:
        """Begin to run the newest revision with that digest."""
        pages = self._client.get_paginator("list_task_definitions").paginate(familyPrefix=self._name, sort="DESC")
        for page in pages:
            for definition in page["taskDefinitionArns"]:
                if self._image_of(definition).endswith(f"@{digest}"):
                    self._client.update_service(cluster=self._cluster, service=self._name, taskDefinition=definition)
                    return
        raise ImageError(f"no revision of {self._name} has the image {digest}; deploy it by Terraform")

    def steady(self, digest: str) -> bool:
        """One deployment, finished, of that image, and no address behind the load balancer but those of its tasks."""
        service = self._service()
        deployments = service["deployments"]
        failed = [one["taskDefinition"] for one in deployments if one.get("rolloutState") == "FAILED"]
        # one that failed before this image was put back says nothing about it
        if any(self._image_of(definition).endswith(f"@{digest}") for definition in failed):
            raise ImageError("ECS went back to the former revision: the new one did not become healthy")
        if len(deployments) != 1 or deployments[0].get("rolloutState", "COMPLETED") != "COMPLETED":
            return False
        if not self._image_of(deployments[0]["taskDefinition"]).endswith(f"@{digest}"):
            raise ImageError(f"ECS runs {self._image_of(deployments[0]['taskDefinition'])}, not {digest}")
        return self._answering(service) <= self._addresses(deployments[0]["taskDefinition"])

    def _answering(self, service: dict[str, Any]) -> set[str]:
        """Addresses that the load balancer sends requests to."""
        balancer = boto3.client("elbv2")
        return {
            target["Target"]["Id"]
            for one in service.get("loadBalancers", [])
            for target in balancer.describe_target_health(TargetGroupArn=one["targetGroupArn"])[
                "TargetHealthDescriptions"
            ]
            if target["TargetHealth"]["State"] in ("healthy", "draining")
        }

    def _addresses(self, definition: str) -> set[str]:
        """Addresses of the tasks of that revision."""
        arns = self._client.list_tasks(cluster=self._cluster, serviceName=self._name)["taskArns"]
        tasks = self._client.describe_tasks(cluster=self._cluster, tasks=arns)["tasks"] if arns else []
        return {
            detail["value"]
            for task in tasks
            if task["taskDefinitionArn"] == definition
            for attachment in task["attachments"]
            for detail in attachment["details"]
            if detail["name"] == "privateIPv4Address"
        }


def wait(compute: Compute, digest: str, seconds: float) -> None:
    """Wait until that digest alone answers.

    Raises
    ------
    ImageError
        When it does not within that many seconds.
    """
    deadline = time.monotonic() + seconds
    while not compute.steady(digest):
        if time.monotonic() >= deadline:
            raise ImageError(f"not steady after {seconds:g} s")
        time.sleep(_PAUSE)


def exchange(compute: Compute, digest: str, seconds: float) -> None:
    """Run another digest and wait until it alone answers; nothing where it does already.

    Raises
    ------
    ImageError
        When it does not within that many seconds.
    """
    if not compute.image().endswith(f"@{digest}"):
        compute.put(digest)
    wait(compute, digest, seconds)


def main(argv: list[str] | None = None) -> int:
    """Show, wait for or exchange the image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("show", "wait", "put"))
    parser.add_argument("digest", nargs="?", default="")
    parser.add_argument("--name", default="fraud-detection", help="the platform's prefix (fraud-detection)")
    parser.add_argument("--allow-missing", action="store_true", help="an empty line where there is no service yet")
    parser.add_argument("--seconds", type=float, default=900.0, help="how long the exchange may take")
    arguments = parser.parse_args(argv)
    if not re.fullmatch("" if arguments.command == "show" else _DIGEST, arguments.digest):
        parser.error("put and wait want sha256: and 64 hexadecimal digits, show wants nothing")
    service = f"{arguments.name}-api"
    try:
        compute = AppRunner.find(service) or Ecs(arguments.name, service)
        if arguments.command == "put":
            exchange(compute, arguments.digest, arguments.seconds)
        if arguments.command == "wait":
            wait(compute, arguments.digest, arguments.seconds)
        sys.stdout.write(compute.image().partition("@")[2] + "\n")
    except MissingServiceError as error:
        if arguments.command == "show" and arguments.allow_missing:
            sys.stdout.write("\n")
            return 0
        sys.stderr.write(f"{error}\n")
        return 1
    except ImageError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
