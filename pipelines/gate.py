"""The gate: whether a candidate may take the champion's place. Each check is a row with value, limit and passed."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field
from rich.table import Table

from ml_project.bundle import Bundle
from ml_project.dataset import Dataset
from ml_project.metrics import average_precision, paired_difference
from ml_project.scorer import Scorer
from ml_project.split import MIN_FRAUDS

SIMULATED = "simulated"


class GateLimits(BaseModel):
    """What stands in ``gate.yaml``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    average_precision_margin: float
    superiority: bool
    minimum_frauds: int
    minimum_recall: float = Field(alias="minimum_recall_at_fpr_0.01")
    maximum_calibration_error: float
    maximum_parity_difference: float

    @classmethod
    def load(cls, path: Path = Path(__file__).parent / "gate.yaml") -> "GateLimits":
        """Limits from a file."""
        return cls.model_validate(yaml.safe_load(path.read_text()))


@dataclass(frozen=True)
class Check:
    """One row of the report."""

    name: str
    value: str
    limit: str
    passed: bool


@dataclass(frozen=True)
class GateReport:
    """All rows; the gate is passed when every one is."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing stands against promotion."""
        return all(check.passed for check in self.checks)

    @property
    def failures(self) -> str:
        """What stands against it, in words."""
        return "; ".join(f"{c.name}: {c.value} (limit {c.limit})" for c in self.checks if not c.passed)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"passed": self.passed, "checks": [asdict(check) for check in self.checks]}

    def to_table(self) -> Table:
        """For a terminal."""
        table = Table("check", "value", "limit", "")
        for check in self.checks:
            table.add_row(check.name, check.value, check.limit, "[green]ok" if check.passed else "[red]failed")
        return table


def judge(
    limits: GateLimits,
    metrics: dict[str, float],
    twin: Bundle,
    test: Dataset,
    champion_twin: Bundle | None,
    champion_number: int | None = None,
    seed: int = 0,
) -> GateReport:
    """Check a candidate.

    Parameters
    ----------
    metrics : dict
        The candidate run's metrics.
    twin, champion_twin : Bundle
        Evaluation twins; None where there is no champion.
    test : Dataset
        The candidate's test rows, raw.
    """
    recall, error = metrics["test_recall_at_fpr_0.01"], metrics["test_calibration_error"]
    difference = metrics["parity_max_difference"]
    checks = [
        Check(
            "recall at 1 % false positives",
            f"{recall:.3f}",
            f">= {limits.minimum_recall}",
            recall >= limits.minimum_recall,
        ),
        Check(
            "calibration error",
            f"{error:.3f}",
            f"<= {limits.maximum_calibration_error}",
            error <= limits.maximum_calibration_error,
        ),
        Check(
            "parity with the libraries",
            f"{difference:.1e}",
            f"<= {limits.maximum_parity_difference:g}",
            difference <= limits.maximum_parity_difference,
        ),
    ]
    if champion_twin is None:
        checks.append(Check("not worse than the champion", "no champion yet", "-", True))
        return GateReport(tuple(checks))
    source, champion_source = (bundle.manifest.data["source"] for bundle in (twin, champion_twin))
    real_for_simulated = source == SIMULATED and champion_source != SIMULATED
    checks.append(
        Check(
            "real beats simulated",
            f"{source} after {champion_source}",
            "never simulated after real",
            not real_for_simulated,
        )
    )
    same_schema = twin.manifest.features == champion_twin.manifest.features
    checks.append(Check("schema unchanged", "same" if same_schema else "other features", "same", same_schema))
    checks.append(_compare(limits, twin, test, champion_twin, champion_number, seed))
    return GateReport(tuple(checks))


def unseen_by(test: Dataset, champion_twin: Bundle, source: str) -> Dataset:
    """The test rows later than everything the champion's twin saw; all of them where its rows were of another kind."""
    seen = champion_twin.manifest.data
    if (seen["source"] == SIMULATED) != (source == SIMULATED):
        return test
    return test.take(np.flatnonzero(test.moment > seen["seen_until"]))


def _compare(
    limits: GateLimits, twin: Bundle, test: Dataset, champion_twin: Bundle, number: int | None, seed: int
) -> Check:
    name = f"average precision against version {number}"
    rows = unseen_by(test, champion_twin, twin.manifest.data["source"])
    needed = max(limits.minimum_frauds, MIN_FRAUDS)
    if rows.frauds < needed:
        return Check(name, f"{rows.frauds} frauds that neither has seen", f">= {needed} frauds", False)
    candidate, champion = (Scorer(bundle).score(rows.raw).hybrid for bundle in (twin, champion_twin))
    figures = {"average_precision": average_precision}
    gain = paired_difference(rows, candidate, champion, figures, seed=seed)["average_precision"]
    lowest = 0.0 if limits.superiority else -limits.average_precision_margin
    value = f"{gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] on {rows.frauds} frauds"
    return Check(name, value, f"interval above {lowest:+.3f}", gain.low > lowest)
