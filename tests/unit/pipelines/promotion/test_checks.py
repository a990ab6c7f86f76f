import json
from dataclasses import replace

import numpy as np
import pytest

from ml_project.bundle import Bundle
from ml_project.contract import Contract
from ml_project.dataset import Dataset
from ml_project.policies import Thresholds
from pipelines.promotion.checks import judge
from pipelines.promotion.evidence import Champion, Evidence
from pipelines.promotion.report import Check, GateLimits, GateReport
from tests.support.creditcard import CREDITCARD
from tests.unit.pipelines.promotion.conftest import SMALL, against, finished_twin, signature_of


def row(report: GateReport, name: str) -> Check:
    return next(check for check in report.checks if check.name.startswith(name))


def failed(report: GateReport) -> list[str]:
    return [check.name for check in report.checks if not check.passed]


def test_the_first_version_passes_without_a_champion(limits: GateLimits, evidence: Evidence) -> None:
    report = judge(limits, evidence)
    assert report.passed
    assert row(report, "not worse than the champion").verdict == "not judged"


@pytest.mark.parametrize(
    ("limit", "value", "name"),
    [
        ("minimum_recall_at_alert_budget", 1.01, "recall at the alert budget"),
        ("minimum_recall", 1.01, "recall at 1 % false positives"),
        ("maximum_calibration_error", 1e-9, "calibration error"),
        ("maximum_parity_difference", 1e-9, "parity with the libraries"),
        ("maximum_latency_ratio", 1.0, "latency of one row"),
    ],
)
def test_each_limit_can_refuse(limits: GateLimits, evidence: Evidence, limit: str, value: float, name: str) -> None:
    report = judge(limits.model_copy(update={limit: value}), evidence)
    assert failed(report) == [name]
    assert name in report.failures


def test_cards_are_shown_and_judged_by_limits_of_their_own(limits: GateLimits, evidence: Evidence) -> None:
    assert not any("card" in check.name for check in judge(limits, evidence).checks)
    test = evidence.test
    # each transaction a card of its own: every figure is that of transactions
    test = replace(test, entities={"customer": np.arange(len(test))})
    asked = replace(evidence, test=test, card_entity="customer", cards_per_day=1)
    of_cards = judge(limits, asked)
    assert row(of_cards, "card precision at 1").verdict == "not judged"
    days = np.floor(test.moment / 86_400)
    top = [int(test.label[days == day][np.argmax(evidence.scores.hybrid[days == day])]) for day in np.unique(days)]
    assert row(of_cards, "card precision at 1").figures == {"value": np.mean(top)}
    assert row(of_cards, "average precision per customer").figures["value"] > 0.5
    for limit, name in (
        ("minimum_card_precision", "card precision at 1"),
        ("minimum_card_average_precision", "average precision per customer"),
    ):
        assert failed(judge(limits.model_copy(update={limit: 1.01}), asked)) == [name]
        assert row(judge(limits.model_copy(update={limit: 0.0}), asked), name).verdict == "passed"


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ({"validated": False}, "data validation"),
        ({"validated": None}, "data validation"),
        ({"parity": None}, "parity with the libraries"),
    ],
)
def test_what_was_not_shown_counts_as_failed(
    limits: GateLimits, evidence: Evidence, fault: dict[str, object], name: str
) -> None:
    report = judge(limits, replace(evidence, **fault))  # type: ignore[arg-type]
    assert failed(report) == [name]
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["passed"] is False


def test_a_bundle_that_is_not_what_its_tag_says_is_refused(limits: GateLimits, evidence: Evidence) -> None:
    for tag in ("0" * 64, ""):
        changed = replace(evidence, shipped=replace(evidence.shipped, expected_digest=tag))
        assert failed(judge(limits, changed)) == ["bundle digest"]
    broken = replace(evidence, shipped=replace(evidence.shipped, bundle=None, problem="It lacks ensemble.onnx."))
    assert "It lacks ensemble.onnx." in judge(limits, broken).failures


def test_golden_rows_that_score_otherwise_are_refused(limits: GateLimits, evidence: Evidence) -> None:
    for difference in (1e-3, float("nan")):
        changed = replace(evidence, shipped=replace(evidence.shipped, golden_difference=difference))
        assert failed(judge(limits, changed)) == ["golden rows"]


def test_an_equal_candidate_is_not_worse_but_not_superior(limits: GateLimits, evidence: Evidence, good: Bundle) -> None:
    # the same scores from another file: nothing says beforehand that they are equal
    equal = against(evidence, replace(good, booster=good.booster + b" "))
    assert judge(limits, equal).passed
    superior = judge(limits.model_copy(update={"superiority": ("average_precision",)}), equal)
    assert failed(superior) == ["average precision against version 1"]
    cheaper = judge(limits.model_copy(update={"superiority": ("savings",)}), equal)
    assert failed(cheaper) == ["savings against version 1"]


def test_another_policy_for_the_same_trees_need_not_rank_better(
    limits: GateLimits, evidence: Evidence, good: Bundle
) -> None:
    superior = limits.model_copy(update={"superiority": ("average_precision", "savings")})
    lower = Thresholds(good.manifest.thresholds.alert / 2, good.manifest.thresholds.decline)
    champion = replace(good, manifest=good.manifest.model_copy(update={"policies": {good.manifest.policy: lower}}))
    report = judge(superior, against(evidence, champion))
    check = row(report, "average precision")
    assert (check.passed, "the champion's own trees" in check.value) == (True, True)
    assert report.passed
    assert failed(judge(superior, against(evidence, good))) == ["savings against version 1"]
    assert failed(judge(superior.model_copy(update={"minimum_recall": 1.01}), against(evidence, champion))) == [
        "recall at 1 % false positives"
    ]


def test_a_worse_candidate_is_refused_and_a_better_one_is_not(
    limits: GateLimits, evidence: Evidence, good: Bundle, useless: Bundle
) -> None:
    worse = judge(limits, against(replace(evidence, twin=useless), good))
    assert {"average precision against version 1", "savings against version 1", "hour 18 to 24"} <= set(failed(worse))
    assert judge(limits, against(evidence, useless)).passed


def test_the_report_says_what_could_have_been_seen(
    limits: GateLimits, evidence: Evidence, data: Dataset, good: Bundle
) -> None:
    other = finished_twin(data, replace(SMALL, blend_weight=0.3))
    check = row(judge(limits, against(evidence, other)), "average precision")
    assert check.figures["detectable"] == pytest.approx(0.7147 * (check.figures["high"] - check.figures["low"]), 1e-3)
    assert f"{check.figures['detectable']:.3f} in four cases out of five" in check.meaning


def test_one_slice_that_is_clearly_worse_refuses(limits: GateLimits, evidence: Evidence, good: Bundle) -> None:
    compared = against(evidence, good)
    comparison = compared.comparison
    assert comparison is not None
    hybrid = comparison.candidate.hybrid.copy()
    small = comparison.rows.amount < 10
    hybrid[small] = np.random.default_rng(0).permutation(hybrid[small])
    spoiled = replace(comparison, candidate=replace(comparison.candidate, hybrid=hybrid))
    compared.__dict__["comparison"] = spoiled  # the cached property's place
    assert "amount 0 to 10" in failed(judge(limits, compared))
    assert "amount 10 to 100" not in failed(judge(limits, compared))


def test_slices_with_few_frauds_are_shown_and_not_judged(limits: GateLimits, evidence: Evidence, good: Bundle) -> None:
    report = judge(limits.model_copy(update={"slice_minimum_frauds": 10_000}), against(evidence, good))
    bands = [check for check in report.checks if check.theme == "slices"]
    assert len(bands) == 8
    assert {check.verdict for check in bands} == {"not judged"}
    assert report.passed


def test_simulated_never_replaces_real_nor_what_nobody_knows(
    limits: GateLimits, evidence: Evidence, data: Dataset, good: Bundle
) -> None:
    simulated = finished_twin(data, SMALL, "simulated")
    for source, passed in (("file", False), ("", False), ("simulated", True)):
        report = judge(limits, against(replace(evidence, twin=simulated), good, source))
        assert row(report, "real data required").passed is passed
    assert row(judge(limits, against(evidence, simulated, "simulated")), "real data required").passed


def test_what_no_force_gets_past(limits: GateLimits, evidence: Evidence, data: Dataset, good: Bundle) -> None:
    document = CREDITCARD.to_dict()
    other = Contract.model_validate(document | {"features": document["features"][::-1]})
    other_features = replace(good, manifest=good.manifest.model_copy(update={"contract": other}))
    broken = replace(evidence, shipped=replace(evidence.shipped, expected_digest="0" * 64))
    for candidate, name in (
        (against(replace(evidence, twin=finished_twin(data, SMALL, "simulated")), good), "real data required"),
        (broken, "bundle digest"),
        (against(evidence, other_features), "schema unchanged"),
    ):
        assert judge(limits, candidate).unforceable.startswith(name)
    worse = judge(limits.model_copy(update={"minimum_recall": 1.01}), evidence)
    assert (worse.passed, worse.unforceable) == (False, "")


def test_rows_that_the_champion_has_seen_do_not_count(
    limits: GateLimits, evidence: Evidence, data: Dataset, good: Bundle
) -> None:
    seen_all = good.manifest.model_copy(update={"data": {**good.manifest.data, "seen_until": float(data.moment[-1])}})
    report = judge(limits, against(evidence, Bundle(seen_all, good.onnx, good.booster)))
    assert failed(report) == ["average precision against version 1"]
    assert "0 frauds that neither has seen" in report.failures


def test_a_champion_without_a_twin_is_the_safe_no(limits: GateLimits, evidence: Evidence) -> None:
    report = judge(limits, replace(evidence, champion=Champion(7, None, "", None)))
    assert failed(report) == ["average precision against version 7", "signature unchanged"]
    assert "holds no evaluation twin" in report.failures


def in_version_two(bundle: Bundle, field: dict[str, object]) -> Bundle:
    """As of a contract with a field more, which no feature is made of."""
    document = CREDITCARD.to_dict()
    contract = Contract.model_validate(
        document | {"version": 2, "fields": [*document["fields"], {"name": "risk", **field}]}
    )
    rows = tuple(each.model_copy(update={"raw": (*each.raw, 0.0)}) for each in bundle.manifest.golden_rows)
    update = {"contract": contract, "golden_rows": rows}
    return replace(bundle, manifest=bundle.manifest.model_copy(update=update))


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ({"type": "number", "required": False}, ""),
        ({"type": "category", "values": ["a"], "required": False}, ""),
        ({"type": "number"}, "the field risk is required"),
    ],
)
def test_a_candidate_may_have_fields_more_that_may_be_missing(
    limits: GateLimits, evidence: Evidence, good: Bundle, field: dict[str, object], said: str
) -> None:
    later = in_version_two(good, field)
    mine = later.manifest.contract
    test = replace(evidence.test, contract=mine, raw=mine.translated(evidence.test.raw, CREDITCARD))
    shipped = replace(evidence.shipped, bundle=later, expected_digest=later.digest, signature=signature_of(later))
    champion = replace(good, booster=good.booster + b" ")
    report = judge(limits, against(replace(evidence, twin=later, test=test, shipped=shipped), champion))
    if not said:
        assert failed(report) == []
        assert row(report, "schema unchanged").value == "1 more fields, 0 more features"
        assert row(report, "average precision").figures["low"] == 0
        back = replace(evidence, champion=Champion(1, later, "file", shipped.signature))
        assert failed(judge(limits, back))[-2:] == ["schema unchanged", "signature unchanged"]
        assert "the field risk has gone" in judge(limits, back).unforceable
    else:
        assert failed(report) == ["average precision against version 1", "schema unchanged", "signature unchanged"]
        assert said in report.unforceable


def test_another_signature_is_refused(limits: GateLimits, evidence: Evidence, good: Bundle) -> None:
    changed = replace(evidence, champion=Champion(1, good, "file", "{}"))
    assert failed(judge(limits, changed)) == ["signature unchanged"]


def test_where_frauds_outnumber_the_budget_the_limit_is_what_is_in_reach(
    limits: GateLimits, evidence: Evidence
) -> None:
    check = row(judge(limits, replace(evidence, alerts_per_day=20.0)), "recall at the alert budget")
    assert check.figures["reachable"] < 0.5
    assert check.passed


def test_the_same_evidence_gives_the_same_report(limits: GateLimits, evidence: Evidence, useless: Bundle) -> None:
    compared = against(evidence, useless)
    assert judge(limits, compared).to_dict() == judge(limits, compared).to_dict()


def test_a_budget_for_more_alerts_than_rows_tests_nothing(limits: GateLimits, evidence: Evidence) -> None:
    """As with times in milliseconds, or one row in another century: every day has less than one row."""
    test = evidence.test
    late = np.append(test.moment[:-1], test.moment[-1] + 250 * 365 * 86_400.0)
    report = judge(limits, replace(evidence, test=Dataset(CREDITCARD, test.raw, test.label, test.weight, late)))
    check = row(report, "recall at the alert budget")
    assert not check.passed
    assert check.value.endswith(f"alerts for {test.weight.sum():,.0f} rows")
