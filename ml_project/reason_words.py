"""What a feature from history says of one transaction, in a sentence: what happened, and what is usual.

A description says what a feature is; the sentence says what it was this time. It is made of the operator, the
contract's own names and units, and the values that were scored: equal transactions, equal sentences.

What is usual is the entity's own, where the contract looks at a longer window of the same kind: of counts and sums what
the rest of that window comes to in the same time, of means and shares what they are there. Elsewhere it is the median
of the training rows.
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ml_project.contract import Contract
from ml_project.contract_parts import ContractField, Feature, duration_text
from ml_project.features import RATIO_GUARD
from ml_project.history import ADDING
from ml_project.quantities import in_unit, number, percent, plural, span, whole
from ml_project.statistics import FeatureStatistics

Row = NDArray[np.floating]

_RATES: Final = ("count", "sum")
"""Operators whose values grow with their window."""

_WEEK: Final = 7 * 86_400


class ReasonWords:
    """Sentences of a contract's features from history, and of what is made of them.

    Parameters
    ----------
    contract : Contract
    statistics : FeatureStatistics
        Of the training rows.
    """

    def __init__(self, contract: Contract, statistics: FeatureStatistics) -> None:
        self._raw = {name: place for place, name in enumerate(contract.raw_fields)}
        self._places = {name: place for place, name in enumerate(contract.feature_names)}
        self._fields: dict[str, ContractField] = {field.name: field for field in contract.fields}
        self._history = {feature.name: feature for feature in contract.history}
        self._features = {feature.name: feature for feature in contract.features}
        self._medians = dict(zip(contract.feature_names, statistics.median, strict=True))
        self._telling: set[str] = set()
        for feature in contract.features:
            if feature.by is not None or self._telling.intersection(feature.of):
                self._telling.add(feature.name)

    def sentence(self, name: str, raw: Row, features: Row) -> str | None:
        """What a feature says of a transaction; None where it has nothing to do with history.

        Parameters
        ----------
        name : str
            Of the feature.
        raw : ndarray of shape (fields,)
            Columns as in ``contract.raw_fields``.
        features : ndarray of shape (features,)
            What `FeatureTransform` makes of it.
        """
        if name not in self._telling:
            return None
        feature = self._features[name]
        said = self._plain(feature, raw, features)
        outcome = float(features[self._places[name]])
        return said if np.isnan(outcome) else said + self._test(feature, outcome)

    def _plain(self, feature: Feature, raw: Row, features: Row) -> str:
        if feature.by is not None:
            return self._of_history(feature, raw)
        if feature.operator == "ratio":
            return self._ratio(feature, raw, features)
        [source] = feature.of
        inner = self._history.get(source)
        return self._of_history(inner, raw) if inner else self._plain(self._features[source], raw, features)

    def _of_history(self, feature: Feature, raw: Row) -> str:
        value = self._value(feature, raw)
        if np.isnan(value):
            return self._absent(feature, raw)
        return _SENTENCES[feature.operator](self, feature, value, raw)

    def _value(self, feature: Feature, raw: Row) -> float:
        return float(raw[self._raw[feature.name]])

    def _absent(self, feature: Feature, raw: Row) -> str:
        """Why there is no value: no key, nothing before, or no number among what was before."""
        nameless = any(
            each.by == feature.by and np.isnan(self._value(each, raw))
            for each in self._history.values()
            if each.operator in ("count", "distinct", "fraud_rate")
        )
        entity = _spaced(feature.by)
        if nameless:
            return f"no {entity} is named"
        if feature.operator == "seconds_since_last":
            return f"first transaction of this {entity} in {duration_text(feature.window)}"
        return f"no {_spaced(feature.of[0])} of this {entity} known {_within(feature)}"

    def _count(self, feature: Feature, value: float, raw: Row) -> str:
        entity = _spaced(feature.by)
        if value == 1 and not feature.delay:
            return f"first transaction of this {entity} {_within(feature)}"
        counted = "no transaction" if value == 0 else "1 transaction" if value == 1 else f"{whole(value)} transactions"
        return self._compared(feature, counted, raw, whole)

    def _added(self, feature: Feature, value: float, raw: Row) -> str:
        [of] = feature.of
        kind = {"sum": "sum of", "mean": "mean", "maximum": "largest"}[feature.operator]
        show = self._shown(of)
        return self._compared(feature, f"{kind} {_spaced(of)} {show(value)}", raw, show)

    def _distinct(self, feature: Feature, value: float, raw: Row) -> str:
        of = _spaced(feature.of[0])
        if value == 0:
            return f"no {of} of this {_spaced(feature.by)} known {_within(feature)}"
        counted = f"1 {of}" if value == 1 else f"{whole(value)} different {plural(of)}"
        return self._compared(feature, counted, raw, whole)

    def _since(self, feature: Feature, value: float, raw: Row) -> str:
        said = f"{span(value)} since {_own(feature)} last transaction"
        longest = self._longest("count", feature, 0)
        count = 0.0 if longest is None else self._value(longest, raw)
        if longest is not None and count > 1:
            return f"{said}, {_own(feature)} usual is {span(longest.window / count)}"
        return said + self._in_training(feature, span)

    def _rate(self, feature: Feature, value: float, raw: Row) -> str:
        owned = f"of {_own(feature)} transactions {_period(feature)}"
        said = f"{percent(value)} {owned} were fraud" if value else f"none {owned} was fraud"
        longer = self._longest("fraud_rate", feature, 2 * feature.window)
        usual = np.nan if longer is None else self._value(longer, raw)
        if value == 0 and not usual > 0:
            return said
        if not np.isnan(usual):
            return f"{said}, {_own(feature)} usual is {percent(usual)}"
        return said + self._in_training(feature, percent)

    def _compared(self, feature: Feature, said: str, raw: Row, show: Callable[[float], str]) -> str:
        """What happened in the window, with what is usual."""
        within, entity = _within(feature), _spaced(feature.by)
        comparable = feature.operator in (*_RATES, "mean")
        longer = self._longest(feature.operator, feature, 2 * feature.window) if comparable else None
        usual = np.nan if longer is None else self._value(longer, raw)
        if longer is None or np.isnan(usual):
            return f"{said} of this {entity} {within}{self._in_training(feature, show)}"
        if feature.operator in _RATES:
            rest, beyond = usual - self._value(feature, raw), longer.window - feature.window
            if rest == 0:
                return f"{said} {within}, nothing else of this {entity} {_within(longer)}"
            usual = rest / beyond * feature.window
        text = number(usual) if feature.operator == "count" else show(usual)
        return f"{said} {within}, {_own(feature)} usual is {text}"

    def _longest(self, operator: str, feature: Feature, least: int) -> Feature | None:
        """The feature of that kind about the same entity with the longest window, of at least so many seconds."""
        same = [
            each
            for each in self._history.values()
            if (each.operator, each.by, each.delay) == (operator, feature.by, feature.delay)
            and (operator != feature.operator or each.of == feature.of)
            and each.window >= least
        ]
        return max(same, key=lambda each: each.window, default=None)

    def _in_training(self, feature: Feature, show: Callable[[float], str]) -> str:
        """The median of the training rows, unless the trees see a test of the value, whose median says nothing."""
        return "" if feature.tested else f", usual is {show(self._medians[feature.name])}"

    def _shown(self, of: str) -> Callable[[float], str]:
        return lambda value: in_unit(self._fields[of], value)

    def _ratio(self, feature: Feature, raw: Row, features: Row) -> str:
        first, second = feature.of
        upper, lower = self._history.get(first), self._history.get(second)
        above, below = (self._operand(each, raw, features) for each in feature.of)
        if upper and lower and _part_of(upper, lower) and above <= below and below:
            what = f"{_own(lower)} transactions" if upper.operator == "count" else f"{_own(lower)} {upper.of[0]}"
            lies = "lie" if upper.operator == "count" else "lies"
            return (
                f"{percent(above / below)} of {what} of {duration_text(lower.window)} {lies} "
                f"in the last {duration_text(upper.window)}"
            )
        names = self._noun(first), self._noun(second, beside=first)
        if np.isnan(above) or np.isnan(below):
            unknown = names[0 if np.isnan(above) else 1]
            return f"{names[0]} cannot be compared with {names[1]}: nothing is known of {unknown}"
        if abs(below) < RATIO_GUARD:
            shown = (self._operand_shown(each, value) for each, value in zip(feature.of, (above, below), strict=True))
            return ", ".join(f"{name} {value}" for name, value in zip(names, shown, strict=True))
        if above == below:
            largest = lower is not None and lower.operator == "maximum" and lower.of == (first,)
            return f"{names[0]} {'is' if largest else 'equal to'} {names[1]}"
        return f"{names[0]} {number(above / below)} times {names[1]}"

    def _operand(self, name: str, raw: Row, features: Row) -> float:
        return float(raw[self._raw[name]] if name in self._raw else features[self._places[name]])

    def _operand_shown(self, name: str, value: float) -> str:
        feature = self._history.get(name)
        if feature is None:
            return in_unit(self._fields[name], value) if name in self._fields else number(value)
        return self._formatter(feature)(value)

    def _noun(self, name: str, beside: str = "") -> str:
        feature = self._history.get(name)
        if feature is None:
            return self._noun_of_made(name)
        if feature.operator == "seconds_since_last":
            return f"the time since {_own(feature)} last transaction"
        if feature.operator == "fraud_rate":
            return f"{_own(feature)} share of frauds {_period(feature)}"
        length = duration_text(feature.window).rsplit(" ", 1)
        owner = f"{_own(feature)} {length[0]}-{length[1].rstrip('s')}"
        if feature.delay:
            owner = _own(feature)
        then = f" {_period(feature)}" if feature.delay else ""
        if feature.operator in ADDING:
            of = "" if feature.of == (beside,) else f" of {_spaced(feature.of[0])}"
            return f"{owner} {feature.operator}{of}{then}"
        return f"{owner} number of {plural(_spaced(feature.of[0])) if feature.of else 'transactions'}{then}"

    def _noun_of_made(self, name: str) -> str:
        made = self._features.get(name)
        if name in self._raw or made is None:
            return _spaced(name)
        if made.operator == "log1p" and not made.description:
            return f"the logarithm of {self._noun(made.of[0])}"
        return made.description or _spaced(name)

    def _formatter(self, feature: Feature) -> Callable[[float], str]:
        if feature.operator in ADDING:
            return self._shown(feature.of[0])
        return {"fraud_rate": percent, "seconds_since_last": span}.get(feature.operator, whole)

    def _test(self, feature: Feature, outcome: float) -> str:
        """What a test of the value found; empty where there is none."""
        if not feature.tested:
            return ""
        show = self._formatter(feature) if feature.by is not None else number
        of = "logarithm " if feature.operator == "log1p" else ""
        if feature.operator == "value" and feature.of[0] in self._history:
            show = self._formatter(self._history[feature.of[0]])
        if feature.above is not None:
            limit = f"above {show(feature.above)}"
        else:
            low, high = feature.between or (0.0, 0.0)
            limit = f"between {show(low)} and {show(high)}"
        return f" ({of}{'' if outcome else 'not '}{limit})"


_SENTENCES: Final[Mapping[str, Callable[[ReasonWords, Feature, float, Row], str]]] = {
    "count": ReasonWords._count,
    "sum": ReasonWords._added,
    "mean": ReasonWords._added,
    "maximum": ReasonWords._added,
    "distinct": ReasonWords._distinct,
    "seconds_since_last": ReasonWords._since,
    "fraud_rate": ReasonWords._rate,
}


def _spaced(name: str | None) -> str:
    return (name or "").replace("_", " ")


def _own(feature: Feature) -> str:
    return f"this {_spaced(feature.by)}'s"


def _within(feature: Feature) -> str:
    """The window of a feature, as the end of a sentence."""
    return _period(feature) if feature.delay else f"in {duration_text(feature.window)}"


def _period(feature: Feature) -> str:
    """When a delayed window was."""
    if (feature.window, feature.delay) == (_WEEK, _WEEK):
        return "in the week before last"
    if not feature.delay:
        return f"in the last {duration_text(feature.window)}"
    return f"in the {duration_text(feature.window)} before the last {duration_text(feature.delay)}"


def _part_of(first: Feature, second: Feature) -> bool:
    """Whether one adds up part of what the other does."""
    same = (first.operator, first.by, first.of) == (second.operator, second.by, second.of)
    return same and not first.delay and not second.delay and first.operator in _RATES and first.window < second.window
