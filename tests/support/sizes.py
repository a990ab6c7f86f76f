"""One test in two sizes."""

import pytest


def few_or_full(few: int, full: int) -> list[object]:
    """Values for ``parametrize``: the small one runs in `make test-slow`, the full one in `make soak`."""
    return [pytest.param(few, marks=pytest.mark.slow, id="few"), pytest.param(full, marks=pytest.mark.soak, id="full")]
