import re
from dataclasses import replace
from datetime import UTC, datetime

from ml_project.bundle import Bundle
from pipelines.gate import GateLimits, judge
from pipelines.gate.evidence import Evidence
from pipelines.gate.page import gate_page
from tests.unit.pipelines.gate.conftest import against

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def page(limits: GateLimits, evidence: Evidence) -> str:
    return gate_page(judge(limits, evidence), evidence, "fraud-ensemble", 2, "run-1", NOON)


def test_it_needs_no_other_server(limits: GateLimits, evidence: Evidence, useless: Bundle) -> None:
    html = page(limits, against(evidence, useless))
    assert not re.search(r"(?:src|href)=\"(?!#)", html)
    assert "<script" not in html
    assert set(re.findall(r"https?://[^\"'\s<]+", html)) <= {"http://www.w3.org/1999/xlink"}
    assert "prefers-color-scheme: dark" in html
    assert 'name="viewport"' in html


def test_every_check_stands_in_it_with_its_verdict(limits: GateLimits, evidence: Evidence, good: Bundle) -> None:
    compared = against(evidence, good)
    html = page(limits, compared)
    for check in judge(limits, compared).checks:
        assert f"<th>{check.name}</th>" in html
        assert check.verdict in html
    assert html.count("<svg") == 6
    assert "version 1:" in html
    assert "version 2:" in html


def test_a_refusal_says_why_and_escapes_it(limits: GateLimits, evidence: Evidence) -> None:
    broken = replace(evidence, shipped=replace(evidence.shipped, bundle=None, problem="<script>alert(1)</script>"))
    html = page(limits, broken)
    assert "✗ refused" in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert html.count("<svg") == 4
