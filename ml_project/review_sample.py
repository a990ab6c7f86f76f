"""Which approvals are reviewed beside the alerts.

Labels from alerts alone say nothing of the frauds that were let through. So a small share of the approvals, drawn at
random, goes to review too, and each of them stands for ``1 / rate`` approvals when labels are counted or learnt from
(Horvitz and Thompson, "A generalization of sampling without replacement from a finite universe", JASA 47 (1952)). The
draw is a hash of the prediction's id: whoever knows the id can repeat it, and a larger rate's sample holds a smaller's.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

_BYTES: Final = 8


def drawn_for_review(prediction_ids: Iterable[str], rate: float) -> list[int]:
    """Places of those predictions that a sample of a rate, 0 to 1, holds if they are approvals.

    The first 8 bytes of BLAKE2b of the id, read as a fraction of 2^64, are below the rate.
    """
    if not 0 < rate < 1:
        return list(range(len(list(prediction_ids)))) if rate >= 1 else []
    below = int(rate * 256**_BYTES).to_bytes(_BYTES)
    return [
        place
        for place, name in enumerate(prediction_ids)
        if blake2b(name.encode(), digest_size=_BYTES).digest() < below
    ]
