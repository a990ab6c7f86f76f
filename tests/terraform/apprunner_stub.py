"""App Runner's control plane, as much of it as Terraform and boto3 ask for, since moto has none.

Protocol: AWS JSON 1.0, the operation in ``X-Amz-Target``. Everything is in memory and ready at once. Nobody's
credentials are looked at: what a role may do is moto's to say.
"""

import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

ACCOUNT: Final = "123456789012"
KINDS: Final = ("AutoScalingConfiguration", "ObservabilityConfiguration", "VpcConnector", "Service")
VERBS: Final = ("Create", "Describe", "Update", "Delete")

Body = dict[str, Any]


class NotFoundError(Exception):
    """No such resource."""


class ControlPlane:
    """What was created, by ARN.

    Attributes
    ----------
    calls : list of str
        Operations in the order in which they came.
    """

    def __init__(self, region: str) -> None:
        self.calls: list[str] = []
        self._region = region
        self._resources: dict[str, Body] = {}
        self._tags: dict[str, list[dict[str, str]]] = {}

    @property
    def services(self) -> list[Body]:
        """Services that were not deleted."""
        return [one for one in self._resources.values() if "ServiceName" in one and one["Status"] != "DELETED"]

    @property
    def alive(self) -> list[str]:
        """ARNs of everything that was not deleted."""
        return [arn for arn, one in self._resources.items() if one["Status"] not in ("DELETED", "INACTIVE", "inactive")]

    def call(self, operation: str, body: Body) -> Body:
        """Carry out one operation."""
        self.calls.append(operation)
        for verb in VERBS:
            kind = operation.removeprefix(verb)
            if kind in KINDS:
                answer: Body = getattr(self, f"_{verb.lower()}")(kind, body)
                return answer
        others = {
            "ListServices": self._list_services,
            "ListOperations": self._list_operations,
            "ListTagsForResource": self._list_tags,
        }
        return others[operation](body)

    def _create(self, kind: str, body: Body) -> Body:
        identifier = uuid.uuid4().hex
        revision = "" if kind == "Service" else "1/"
        arn = f"arn:aws:apprunner:{self._region}:{ACCOUNT}:{kind.lower()}/{body[f'{kind}Name']}/{revision}{identifier}"
        resource = {name: value for name, value in body.items() if name != "Tags"}
        resource |= {f"{kind}Arn": arn, "CreatedAt": time.time(), "Status": "ACTIVE"}
        if kind == "Service":
            resource |= {
                "ServiceId": identifier,
                "ServiceUrl": f"{identifier[:10]}.{self._region}.awsapprunner.com",
                "Status": "RUNNING",
                "UpdatedAt": time.time(),
            }
            network = resource.setdefault("NetworkConfiguration", {})
            network.setdefault("IngressConfiguration", {"IsPubliclyAccessible": True})
            network.setdefault("IpAddressType", "IPV4")
            self._summarise(resource)
        else:
            # the service spells this one in lower case
            status = "active" if kind == "AutoScalingConfiguration" else "ACTIVE"
            resource |= {f"{kind}Revision": 1, "Latest": True, "IsDefault": False, "Status": status}
        self._resources[arn], self._tags[arn] = resource, body.get("Tags", [])
        return self._answer(kind, resource)

    def _describe(self, kind: str, body: Body) -> Body:
        return self._answer(kind, self._find(body[f"{kind}Arn"]))

    def _update(self, kind: str, body: Body) -> Body:
        resource = self._find(body[f"{kind}Arn"])
        resource.update(body, UpdatedAt=time.time())
        self._summarise(resource)
        return self._answer(kind, resource)

    def _delete(self, kind: str, body: Body) -> Body:
        resource = self._find(body[f"{kind}Arn"])
        gone = {"Service": "DELETED", "AutoScalingConfiguration": "inactive"}
        resource["Status"] = gone.get(kind, "INACTIVE")
        return self._answer(kind, resource)

    def _list_services(self, _body: Body) -> Body:
        names = ("ServiceName", "ServiceId", "ServiceArn", "ServiceUrl", "Status")
        return {"ServiceSummaryList": [{name: one[name] for name in names} for one in self.services]}

    def _list_operations(self, body: Body) -> Body:
        done = {"Id": "0" * 32, "Type": "UPDATE_SERVICE", "Status": "SUCCEEDED", "TargetArn": body["ServiceArn"]}
        return {"OperationSummaryList": [done]}

    def _list_tags(self, body: Body) -> Body:
        return {"Tags": self._tags.get(body["ResourceArn"], [])}

    def _find(self, arn: str) -> Body:
        if arn not in self._resources:
            raise NotFoundError(arn)
        return self._resources[arn]

    @staticmethod
    def _summarise(service: Body) -> None:
        arn = service.get("AutoScalingConfigurationArn")
        service["AutoScalingConfigurationSummary"] = {"AutoScalingConfigurationArn": arn} if arn else {}

    @staticmethod
    def _answer(kind: str, resource: Body) -> Body:
        return {kind: resource, "OperationId": uuid.uuid4().hex}


@contextmanager
def serve(region: str) -> Iterator[tuple[str, ControlPlane]]:
    """A control plane behind an address on this machine."""
    plane = ControlPlane(region)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
            try:
                status, answer = 200, plane.call(self.headers["X-Amz-Target"].split(".")[-1], body)
            except NotFoundError as error:
                status, answer = 400, {"__type": "ResourceNotFoundException", "Message": str(error)}
            except KeyError as error:
                status, answer = 400, {"__type": "InvalidRequestException", "Message": repr(error)}
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", plane
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
