"""All checks in the order of the report."""

from pipelines.gate.bands import slice_checks
from pipelines.gate.champion import champion_checks
from pipelines.gate.evidence import Evidence
from pipelines.gate.integrity import integrity_checks
from pipelines.gate.limits import GateLimits
from pipelines.gate.quality import quality_checks
from pipelines.gate.report import GateReport


def judge(limits: GateLimits, evidence: Evidence, seed: int = 0) -> GateReport:
    """Check a candidate; the same evidence gives the same report."""
    return GateReport(
        (
            *champion_checks(limits, evidence, seed),
            *quality_checks(limits, evidence),
            *slice_checks(limits, evidence, seed),
            *integrity_checks(limits, evidence),
        ),
        evidence,
    )
