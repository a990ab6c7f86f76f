"""The random review of approvals: which ones are drawn, and how labels are weighted for it.

Every alert is reviewed. Labels from alerts alone say nothing of the frauds that were let through, so a small share of
the approvals, drawn at random, is reviewed too; each of them stands for ``1 / rate`` approvals when labels are counted
or learnt from (Horvitz and Thompson, "A generalization of sampling without replacement from a finite universe", JASA 47
(1952)). The draw is a hash of the prediction's id: it can be repeated from the id alone, and a larger rate's sample
holds a smaller rate's.

Of the other approvals only customers' complaints are known, so too few of their frauds are. The sample says how many
there are, and the weights of known frauds and of the other approvals are scaled to it (Deville and Saerndal,
"Calibration estimators in survey sampling", JASA 87 (1992)). Known frauds are certain, so they are never scaled down;
and they are left alone while the sample finds no more than chance, or one fraud in a small sample would count a
hundredfold.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

import numpy as np
from numpy.typing import NDArray

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


CHANCE: Final = 0.05
"""Probability below which what the sample found counts as more than chance."""


@dataclass(frozen=True)
class Correction:
    """What review of alerts alone had hidden.

    Attributes
    ----------
    approvals : float
        Approvals, by weight.
    known : float
        Frauds that are known among them.
    sampled, sampled_frauds : int
        Those in the random sample, and the frauds found there; no weights.
    frauds : float
        Frauds that approvals now count for; ``known`` where the sample finds no more.
    weight : (n,)
        Of every row; the sum is that of the weights given.
    """

    approvals: float
    known: float
    sampled: int
    sampled_frauds: int
    frauds: float
    weight: NDArray[np.float64]


def corrected(
    alert: NDArray[np.bool_], fraud: NDArray[np.bool_], rate: NDArray[np.float64], weight: NDArray[np.float64]
) -> Correction:
    """Weights that give frauds among approvals their true share.

    Parameters
    ----------
    alert, fraud : (n,)
        Not approved; known as fraud (a row that was not reported in time is not).
    rate : (n,)
        Of approvals in the random review sample, the probability that they were drawn; 0 of all others.
    weight : (n,)
        What each row stands for so far; 1 for frauds and for the sample.
    """
    approved = ~alert
    inside = approved & (rate > 0)
    approvals, known = float(weight[approved].sum()), float(weight[approved & fraud].sum())
    seen, found = int(inside.sum()), int((inside & fraud).sum())
    frauds = known
    if found and _chance_of(found, round(known), seen / approvals) < CHANCE:
        stands_for = 1 / rate[inside]
        frauds = max(known, approvals * float(stands_for[fraud[inside]].sum() / stands_for.sum()))
    scaled = weight.copy()
    if frauds > known:
        scaled[approved & fraud] *= frauds / known
        scaled[approved & ~fraud] *= (approvals - frauds) / (approvals - known)
    return Correction(approvals, known, seen, found, frauds, scaled)


def _chance_of(found: int, known: int, share: float) -> float:
    """Binomial probability that a random ``share`` of approvals holds at least ``found`` of ``known`` frauds."""
    if share >= 1:
        return 1.0
    fewer = (
        math.lgamma(known + 1)
        - math.lgamma(count + 1)
        - math.lgamma(known - count + 1)
        + count * math.log(share)
        + (known - count) * math.log1p(-share)
        for count in range(found)
    )
    return 1.0 - math.fsum(math.exp(each) for each in fewer)
