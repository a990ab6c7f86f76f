"""Secrets in addresses, kept out of messages."""

import re
from typing import Final

_USERINFO: Final = re.compile(r"(?<=://)(?:[^/:\s]*:\S*|[^/\s]*)@")
"""To the last @ of the word: drivers take a password that holds an @ or a slash too."""

_PARAMETER: Final = re.compile(r"(?<=[?&\s])((?:\w*(?:pass|pwd|secret|token)\w*|X-Amz-\w+)=)[^&\s]+", re.IGNORECASE)


def masked(text: str) -> str:
    """A text in which no address shows its user, password or signature."""
    return _PARAMETER.sub(r"\1***", _USERINFO.sub("***@", text))
