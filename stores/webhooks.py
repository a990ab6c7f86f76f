"""MLflow's webhooks that tell gateways of a promotion at once; a gateway that hears of none looks every few seconds."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from ml_project.errors import InvalidInput
from stores.mlflow_client import open_client, translated

EVENT: Final = "model_version_alias.created"
"""Production was set: what the gateway's route ``/hooks/registry`` acts on."""

ROUTE: Final = "/hooks/registry"


@dataclass(frozen=True)
class Webhook:
    """A webhook as MLflow describes it; MLflow never gives the secret back."""

    id: str
    name: str
    url: str
    active: bool


@dataclass(frozen=True)
class Delivery:
    """What came of a test delivery: the receiver's status, or why there is none."""

    delivered: bool
    status: int | None
    problem: str


class Webhooks:
    """The webhooks of an MLflow server.

    Every method raises `Unavailable` when the server cannot be reached or refuses.
    """

    def __init__(self, tracking_uri: str) -> None:
        self._uri = tracking_uri
        self._client = open_client(tracking_uri)

    def list(self) -> list[Webhook]:
        """All that tell of aliases, by name."""
        found, token = [], None
        with translated(self._uri):
            while True:
                page = self._client.list_webhooks(page_token=token)
                found += [each for each in page if EVENT in map(str, each.events)]
                token = page.token
                if not token:
                    break
        webhooks = [Webhook(each.webhook_id, each.name, each.url, str(each.status) == "ACTIVE") for each in found]
        return sorted(webhooks, key=lambda webhook: webhook.name)

    def add(self, name: str, gateway: str, secret: str) -> Webhook:
        """Let MLflow tell a gateway.

        Parameters
        ----------
        gateway : str
            The gateway's address, with or without `ROUTE`.
        secret : str
            The gateway's ``FRAUD_WEBHOOK_SECRET``, which signs each delivery.

        Raises
        ------
        InvalidInput
            When the name is taken, the address is none, or there is no secret.
        """
        if not secret:
            raise InvalidInput(
                "The webhook has no secret.", "Set FRAUD_WEBHOOK_SECRET as at the gateway, from `openssl rand -hex 32`."
            )
        parts = urlsplit(gateway)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidInput(f"{gateway!r} is not the address of a gateway.", "Write https://gateway.bank.example.")
        if any(each.name == name for each in self.list()):
            raise InvalidInput(f"There is a webhook {name!r} already.", "Remove it first, or choose another name.")
        url = gateway.rstrip("/").removesuffix(ROUTE) + ROUTE
        with translated(self._uri):
            made = self._client.create_webhook(name, url, [EVENT], secret=secret)
        return Webhook(made.webhook_id, made.name, made.url, True)

    def test(self, name: str) -> Delivery:
        """Let MLflow deliver a test event; raises `InvalidInput` when there is no webhook of the name."""
        webhook = self._named(name)
        with translated(self._uri):
            result = self._client.test_webhook(webhook.id, EVENT)
        return Delivery(result.success, result.response_status, result.error_message or result.response_body or "")

    def remove(self, name: str) -> None:
        """Delete one; raises `InvalidInput` when there is no webhook of the name."""
        webhook = self._named(name)
        with translated(self._uri):
            self._client.delete_webhook(webhook.id)

    def _named(self, name: str) -> Webhook:
        found = self.list()
        for webhook in found:
            if webhook.name == name:
                return webhook
        known = ", ".join(webhook.name for webhook in found) or "none"
        raise InvalidInput(f"There is no webhook {name!r}.", f"There are: {known}.")
