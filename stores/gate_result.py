"""What the gate said of a version: tags of the version, and the same in the release pointer.

A module without MLflow: a gateway that goes live by the pointer asks it too.
"""

from collections.abc import Mapping
from typing import Final, Literal

GATE_TAG: Final = "gate.passed"
FAILURES_TAG: Final = "gate.failures"
FORCED_TAG: Final = "gate.forced"
"""Who promoted it past a failed gate, and why. Never taken away."""

Verdict = Literal["passed", "forced", "refused", "none"]


def gate_result(tags: Mapping[str, str]) -> dict[str, object]:
    """A version's gate result for the release pointer."""
    said = {name: tags[tag] for name, tag in (("failures", FAILURES_TAG), ("forced", FORCED_TAG)) if tags.get(tag)}
    return {"passed": tags.get(GATE_TAG) == "true", "judged": GATE_TAG in tags, **said}


def verdict(gate: Mapping[str, object]) -> Verdict:
    """A gate result in a word."""
    if gate.get("passed") is True:
        return "passed"
    if gate.get("forced"):
        return "forced"
    return "refused" if gate.get("judged") else "none"


def cleared(gate: Mapping[str, object]) -> bool:
    """Whether a version with this gate result may go live: it passed, or one of us forced it past."""
    return verdict(gate) in ("passed", "forced")
