import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ml_project.bundle import Bundle
from ml_project.errors import InvalidInput
from pipelines.promotion.checks import judge
from pipelines.promotion.evidence import Evidence
from pipelines.promotion.report import GATE_FILE, GateLimits, gate_page
from tests.unit.pipelines.promotion.conftest import against


def test_the_file_that_ships_is_valid() -> None:
    limits = GateLimits.load()
    assert limits.minimum_recall == 0.7
    assert limits.superiority == ()


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("maximum_latency_ratio: 3.0", ""),
        ("maximum_latency_ratio: 3.0", "maximum_latency_ratoi: 3.0"),
        ("superiority: []", "superiority: [speed]"),
        ("minimum_frauds: 20", "minimum_frauds: 0"),
        ("amount_bands: [10, 100, 500]", "amount_bands: ["),
    ],
)
def test_half_a_file_judges_nothing(tmp_path: Path, line: str, instead: str) -> None:
    text = GATE_FILE.read_text()
    assert line in text
    file = tmp_path / "gate.yaml"
    file.write_text(text.replace(line, instead))
    with pytest.raises(InvalidInput, match="limits"):
        GateLimits.load(file)


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
