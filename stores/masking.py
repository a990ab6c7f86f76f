"""Secrets in addresses, kept out of messages."""

import re
from typing import Final

_USERINFO: Final = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_PARAMETER: Final = re.compile(r"(?<=[?&\s])((?:password|X-Amz-\w+)=)[^&\s]+", re.IGNORECASE)


def masked(text: str) -> str:
    """A text in which no address shows its user, password or signature."""
    return _PARAMETER.sub(r"\1***", _USERINFO.sub("***", text))
