"""Say which image the gateway runs, or put another one in its place: what a deployment notes and a rollback does.

Works on both computes and needs no more than the role GitHubActionsRole. Terraform stays the truth: its next apply sets
the digest that it is given.

    python deploy/live_image.py show
    python deploy/live_image.py put sha256:…

Exit codes: 0 done, 1 there is no such service or revision or it did not become steady, 2 usage.
"""

import argparse
import re
import sys
import time
from typing import Any, Final, Protocol

import boto3

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_PAUSE: Final = 5.0


class ImageError(Exception):
    """Why the image cannot be told or exchanged."""


class Compute(Protocol):
    """Where the gateway runs."""

    def image(self) -> str:
        """Repository and digest of what runs."""

    def put(self, digest: str) -> None:
        """Begin to run another digest."""

    def steady(self) -> bool:
        """Whether nothing is being exchanged any more; raises ImageError when that failed."""


class AppRunner:
    """The service on App Runner."""

    def __init__(self, arn: str) -> None:
        self._client = boto3.client("apprunner")
        self._arn = arn
        self._wanted = ""

    @classmethod
    def find(cls, name: str) -> "AppRunner | None":
        """The service of that name, if there is one."""
        listed = boto3.client("apprunner").list_services()["ServiceSummaryList"]
        return next((cls(one["ServiceArn"]) for one in listed if one["ServiceName"] == name), None)

    def _service(self) -> dict[str, Any]:
        service: dict[str, Any] = self._client.describe_service(ServiceArn=self._arn)["Service"]
        return service

    def image(self) -> str:
        """Repository and digest of what runs."""
        return str(self._service()["SourceConfiguration"]["ImageRepository"]["ImageIdentifier"])

    def put(self, digest: str) -> None:
        """Begin to run another digest, everything else as it is."""
        source = self._service()["SourceConfiguration"]
        repository = source["ImageRepository"]
        repository["ImageIdentifier"] = self._wanted = f"{repository['ImageIdentifier'].split('@')[0]}@{digest}"
        self._client.update_service(ServiceArn=self._arn, SourceConfiguration=source)

    def steady(self) -> bool:
        """RUNNING, with the image that was asked for; App Runner goes back by itself from one that is not healthy."""
        service = self._service()
        if service["Status"] == "RUNNING" and self.image() != self._wanted:
            raise ImageError("App Runner went back to the former image: the new one did not become healthy")
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
            raise ImageError(f"there is no service {self._name}, neither on App Runner nor on ECS")
        service: dict[str, Any] = active[0]
        return service

    def _image_of(self, definition: str) -> str:
        described = self._client.describe_task_definition(taskDefinition=definition)["taskDefinition"]
        return str(described["containerDefinitions"][0]["image"])

    def image(self) -> str:
        """Repository and digest of what runs."""
        return self._image_of(self._service()["taskDefinition"])

    def put(self, digest: str) -> None:
        """Begin to run the newest revision with that digest."""
        pages = self._client.get_paginator("list_task_definitions").paginate(familyPrefix=self._name, sort="DESC")
        for page in pages:
            for definition in page["taskDefinitionArns"]:
                if self._image_of(definition).endswith(f"@{digest}"):
                    self._client.update_service(cluster=self._cluster, service=self._name, taskDefinition=definition)
                    return
        raise ImageError(f"no revision of {self._name} has the image {digest}; deploy it by Terraform")

    def steady(self) -> bool:
        """One deployment, finished."""
        deployments = self._service()["deployments"]
        if any(one.get("rolloutState") == "FAILED" for one in deployments):
            raise ImageError("ECS went back to the former revision: the new one did not become healthy")
        return len(deployments) == 1 and deployments[0].get("rolloutState", "COMPLETED") == "COMPLETED"


def exchange(compute: Compute, digest: str, seconds: float) -> None:
    """Run another digest and wait until it does; nothing where it runs already.

    Raises
    ------
    ImageError
        When it does not within that many seconds.
    """
    if compute.image().endswith(f"@{digest}"):
        return
    compute.put(digest)
    deadline = time.monotonic() + seconds
    while not compute.steady():
        if time.monotonic() >= deadline:
            raise ImageError(f"not steady after {seconds:g} s")
        time.sleep(_PAUSE)


def main(argv: list[str] | None = None) -> int:
    """Show or exchange the image."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("show", "put"))
    parser.add_argument("digest", nargs="?", default="")
    parser.add_argument("--name", default="fraud-detection", help="the platform's prefix")
    parser.add_argument("--seconds", type=float, default=900.0, help="how long the exchange may take")
    arguments = parser.parse_args(argv)
    if (arguments.command == "put") != bool(_DIGEST.fullmatch(arguments.digest)):
        parser.error("put wants sha256: and 64 hexadecimal digits, show wants nothing")
    service = f"{arguments.name}-api"
    try:
        compute = AppRunner.find(service) or Ecs(arguments.name, service)
        if arguments.command == "put":
            exchange(compute, arguments.digest, arguments.seconds)
        sys.stdout.write(compute.image().partition("@")[2] + "\n")
    except ImageError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
