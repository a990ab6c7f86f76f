"""Whether what would ship is what was measured: files, scores, schema, data, speed."""

from dataclasses import replace

from pipelines.gate.evidence import Champion, Evidence, Shipped
from pipelines.gate.limits import GateLimits
from pipelines.gate.report import Check, Theme


def integrity_checks(limits: GateLimits, evidence: Evidence) -> list[Check]:
    """Validation, digests, parity, latency, schema and signature."""
    shipped = evidence.shipped
    checks = [_validation(evidence), _unforceable(_digest(shipped)), _parity(limits, evidence)]
    if shipped.bundle is not None:
        checks += [_golden_rows(limits, shipped), _latency(limits, shipped)]
    if evidence.champion is not None:
        checks += _unchanged(evidence, evidence.champion)
    return checks


def _check(name: str, value: str, limit: str, passed: bool, meaning: str, **figures: float) -> Check:
    return Check(name, value, limit, passed, meaning, Theme.INTEGRITY, figures=figures)


def _unforceable(check: Check) -> Check:
    return replace(check, forceable=False)


def _validation(evidence: Evidence) -> Check:
    words = {True: "passed", False: "failed", None: "these data were never validated"}
    return _check(
        "data validation",
        words[evidence.validated],
        "passed",
        evidence.validated is True,
        "The newest validation of the very data that the candidate was trained on, by their digest.",
    )


def _digest(shipped: Shipped) -> Check:
    digest = shipped.bundle.digest if shipped.bundle else ""
    equal = bool(digest) and digest == shipped.expected_digest
    return _check(
        "bundle digest",
        shipped.problem or f"{digest[:16]} in the files",
        shipped.expected_digest[:16] or "a digest in the registry",
        equal,
        "SHA-256 over the bundle's files as they lie in the artifact store, against the run's tag.",
    )


def _parity(limits: GateLimits, evidence: Evidence) -> Check:
    measured = {} if evidence.parity is None else {"difference": evidence.parity}
    return _check(
        "parity with the libraries",
        "never measured" if evidence.parity is None else f"{evidence.parity:.1e}",
        f"<= {limits.maximum_parity_difference:g}",
        evidence.parity is not None and evidence.parity <= limits.maximum_parity_difference,
        "Largest difference between ONNX's scores and scikit-learn's and XGBoost's on the latest rows, twin and refit.",
        **measured,
    )


def _golden_rows(limits: GateLimits, shipped: Shipped) -> Check:
    return _check(
        "golden rows",
        f"{shipped.golden_difference:.1e}",
        f"<= {limits.maximum_parity_difference:g}",
        shipped.golden_difference <= limits.maximum_parity_difference,
        "The bundle's own sample transactions, scored again from the artifact store, against what training wrote.",
        difference=shipped.golden_difference,
    )


def _latency(limits: GateLimits, shipped: Shipped) -> Check:
    return _check(
        "latency of one row",
        f"{shipped.latency_ratio:.2f} x reference",
        f"<= {limits.maximum_latency_ratio:g} x",
        shipped.latency_ratio <= limits.maximum_latency_ratio,
        "Time for one row in units of a forest of 100 + 100 trees, timed in turns in the same process: a slow machine "
        "slows both.",
        ratio=shipped.latency_ratio,
    )


def _unchanged(evidence: Evidence, champion: Champion) -> list[Check]:
    checks = []
    if champion.twin is not None:
        same = evidence.twin.manifest.features == champion.twin.manifest.features
        schema = _check(
            "schema unchanged",
            "same" if same else "other features",
            "same",
            same,
            "The champion's 37 features in the champion's order.",
        )
        checks.append(_unforceable(schema))
    known = champion.signature is not None
    same = evidence.shipped.signature == champion.signature
    differs = "other fields or types" if known else "the champion's cannot be read"
    checks.append(
        _check(
            "signature unchanged",
            "same" if same else differs,
            "same",
            same,
            "Inputs and outputs of the pyfunc: who calls the champion can call the candidate.",
        )
    )
    return checks
