"""What messages say of servers: addresses without secrets, and why a connection failed in plain words."""

import re
from typing import Final

_USERINFO: Final = re.compile(r"(?<=://)(?:[^/:\s]*:\S*|[^/\s]*)@")
"""To the last @ of the word: drivers take a password that holds an @ or a slash too."""

_PARAMETER: Final = re.compile(r"(?<=[?&\s])((?:\w*(?:pass|pwd|secret|token)\w*|X-Amz-\w+)=)[^&\s]+", re.IGNORECASE)

_SIGNS: Final = {
    "the answer takes longer": "its answer takes too long",
    "the answer is larger": "its answer is too large",
    "the answer is compressed": "its answer is compressed, which was not asked for",
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
"""Client libraries bury the reason deep in the text of what they raise; these words give it away."""


def masked(text: str) -> str:
    """A text in which no address shows its user, password or signature."""
    return _PARAMETER.sub(r"\1***", _USERINFO.sub("***@", text))


def connection_fault(text: str) -> str | None:
    """Why a connection failed, in plain words; None where the text is about something else."""
    return next((words for sign, words in _SIGNS.items() if sign in text), None)
