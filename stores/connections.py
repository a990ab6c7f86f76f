"""Why a connection failed, in words: the reason hides deep in the text of whatever a client library raises."""

from typing import Final

_SIGNS: Final = {
    "refused": "the connection is refused",
    "Name or service not known": "the host is unknown",
    "No address associated": "the host is unknown",
    "resolve": "the host is unknown",
    "resolution": "the host is unknown",
    "timed out": "no answer in time",
    "timeout": "no answer in time",
    "CERTIFICATE": "its certificate cannot be trusted",
    "Connection aborted": "the connection broke",
    "Connection reset": "the connection broke",
}


def connection_fault(text: str) -> str | None:
    """The reason in words; None where the text is about something else."""
    return next((words for sign, words in _SIGNS.items() if sign in text), None)
