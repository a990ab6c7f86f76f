"""Validation of the ingested data: the Great Expectations suite, kept as data, and its run on pandas or on Spark.

``validation_suite.json`` has one list for the table (``transactions``) and one for its weighted figures
(``weighted``). An entry with ``columns`` stands for one expectation per column. ``@name`` stands for what a contract
says: a group of its columns, or a limit of the column or of the label. On Spark the table stays on the executors; only
its figures come to this machine.
"""

import json
import os
import warnings
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from ml_project.contract import Contract
from ml_project.errors import InvalidInput
from ml_project.quantities import counted, rate, ratio
from pipelines.data.ingest import IngestedMeta, read_meta
from pipelines.data.on_spark import seconds_of
from pipelines.data.validation_report import (
    STRAYS,
    ExpectationResult,
    Pace,
    Reference,
    ValidationReport,
    describe_limit,
    describe_observed,
    figures_of,
    summarise,
)
from pipelines.settings import PipelineSettings
from pipelines.spark_session import quoted, spark_session

if TYPE_CHECKING:
    from great_expectations.data_context import AbstractDataContext

SUITE_FILE: Final = Path(__file__).with_name("validation_suite.json")
WRITTEN_SUITE: Final = "suite.json"
"""Beside the Data Docs: the suite as it was run, with the contract's columns and limits."""


@dataclass(frozen=True)
class Expectation:
    """One expectation in Great Expectations' own words: its snake_case type and its arguments."""

    type: str
    kwargs: dict[str, Any]


def validate(
    frame: pd.DataFrame, contract: Contract, meta: IngestedMeta, output: Path, *, suite: Path = SUITE_FILE
) -> ValidationReport:
    """Validate ingested data.

    Parameters
    ----------
    frame, meta
        What ``ingest.read_ingested`` gives.
    contract : Contract
        What the suite's columns and limits are.
    output : Path
        Folder for the Data Docs: ``index.html``, and the suite as data.
    suite : Path
        The suite's file.

    Raises
    ------
    InvalidInput
        If the suite's file is not a suite. Data that fail are no error: see ``ValidationReport.success``.
    """
    figures = summarise(frame, contract, Reference.of(contract))
    return run_suite(frame, list(frame.columns), contract, figures, meta, output, suite)


def run_suite(
    table: Any,
    columns: list[str],
    contract: Contract,
    figures: dict[str, float],
    meta: IngestedMeta,
    output: Path,
    suite: Path = SUITE_FILE,
) -> ValidationReport:
    """Run the suite on a table, a pandas or a Spark data frame, and on its weighted figures; see `validate`."""
    suites = load_suite(contract, suite, columns)
    context = _context()
    run = f"{meta.source}-{meta.digest[:12]}"
    checks = _check(context, "transactions", table, suites["transactions"], run)
    checks += _check(context, "weighted", pd.DataFrame([figures]), suites["weighted"], run)
    written = {name: [asdict(each) for each in expectations] for name, expectations in suites.items()}
    output.mkdir(parents=True, exist_ok=True)
    (output / WRITTEN_SUITE).write_text(json.dumps(written, indent=1), encoding="utf-8")
    report = ValidationReport(tuple(checks), figures, output / "index.html")
    facts = {
        "source": meta.source,
        "rows": counted(figures["rows"]),
        "frauds": counted(figures.get("frauds", 0.0)),
        "fraud rate": rate(figures["fraud_rate"]) if "fraud_rate" in figures else "unknown",
        "days": ratio(figures["days"]) if "days" in figures else "unknown",
        "digest": meta.digest,
    }
    report.docs.write_text(report.page(meta.name, str(contract), facts, WRITTEN_SUITE), encoding="utf-8")
    return report


def load_suite(
    contract: Contract, path: Path = SUITE_FILE, columns: Collection[str] = ()
) -> dict[str, list[Expectation]]:
    """Expectations by suite name; ``columns`` are the data's, of which some need not be there.

    Raises
    ------
    InvalidInput
        If the file is not a suite.
    """
    words = _ContractWords.of(contract, columns)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            name: [expectation for entry in content[name] for expectation in words.expand(entry)]
            for name in ("transactions", "weighted")
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"{path}: not a validation suite ({error!r}).", f"See {SUITE_FILE.name} for one.") from error


@dataclass(frozen=True)
class _ContractWords:
    """What ``@name`` stands for: groups of columns, limits by column, and the label's own."""

    groups: dict[str, list[str]]
    limits: dict[str, dict[str, float]]
    label: dict[str, Any]

    @classmethod
    def of(cls, contract: Contract, columns: Collection[str]) -> "_ContractWords":
        event_time = contract.event_time in columns
        kept = [name for name in contract.kept_columns if name != contract.event_time or event_time]
        history = [feature.name for feature in contract.history]
        clean = [*contract.clean_columns, *(name for name in (*kept, *history) if name in columns)]
        optional = {each.name for each in contract.fields if not each.required and each.role in (None, "entity")}
        optional.update((contract.transaction_id, *history))
        # without a time or a name nothing tells a repeated row from another one of the kind
        told = event_time or contract.time or contract.transaction_id in clean
        codes = {field.name: field.limits for field in contract.scored_fields if field.type in ("boolean", "category")}
        expected = {field.name: field.expected for field in contract.scored_fields if field.expected}
        low, high = contract.label.expected_rate
        compared = list(Reference.of(contract).mean)
        return cls(
            {
                "@clean": clean,
                "@identity": [column for column in clean if column != contract.weight] if told else [],
                "@present": [column for column in clean if column not in optional],
                "@codes": list(codes),
                "@expected": list(expected),
                "@label": [contract.label_field],
                "@weight": [contract.weight],
                "@mean_shifts": [f"mean_shift_{column}" for column in compared],
                "@spreads": [f"spread_{column}" for column in compared],
            },
            {
                "@lowest": {name: limits[0] for name, limits in expected.items()},
                "@highest": {name: limits[1] for name, limits in expected.items()},
                "@lowest_code": {name: limits[0] for name, limits in codes.items()},
                "@highest_code": {name: limits[1] for name, limits in codes.items()},
            },
            {"@lowest_rate": low, "@highest_rate": high},
        )

    def expand(self, entry: dict[str, Any]) -> list[Expectation]:
        """The expectations that an entry of the file stands for."""
        kwargs = entry.get("kwargs", {})
        if "columns" not in entry:
            if any(self._meant(value) == [] for value in kwargs.values()):
                return []  # of no column
            return [Expectation(entry["type"], {key: self._meant(value) for key, value in kwargs.items()})]
        columns = self._meant(entry["columns"])
        return [
            Expectation(
                entry["type"], {"column": column, **{key: self._meant(value, column) for key, value in kwargs.items()}}
            )
            for column in columns
        ]

    def _meant(self, value: Any, column: str = "") -> Any:
        if not (isinstance(value, str) and value.startswith("@")):
            return value
        if value in self.limits:
            return self.limits[value][column]
        return self.label[value] if value in self.label else self.groups[value]


def validate_on_spark(settings: PipelineSettings, output: Path) -> tuple[ValidationReport, IngestedMeta]:
    """Validate the ingested data on Spark; see `pipelines.data.validation.validate`.

    The content is not compared with its digest, which would need all of it in one place.
    """
    meta = read_meta(settings.dataset_path, settings.data_contract)
    contract = meta.resolved(settings.data_contract)
    with spark_session(settings) as spark:
        # Spark has no timestamps of nanoseconds; the suite asks only whether they are there, and differ.
        spark.conf.set("spark.sql.legacy.parquet.nanosAsLong", "true")
        table = spark.read.parquet(str(settings.dataset_path.absolute()))
        figures = summarise_on_spark(table, contract, Reference.of(contract))
        return run_suite(table, table.columns, contract, figures, meta, output), meta


def summarise_on_spark(table: Any, contract: Contract, reference: Reference) -> dict[str, float]:
    """The figures of `summarise`, by two aggregations: means, then spreads about them."""
    from pyspark.sql import functions as f

    label = contract.label_field
    columns = [column for column in (label, *reference.mean) if column in table.columns]
    weight = f.col(quoted(contract.weight)) if contract.weight in table.columns else f.lit(1.0)
    sums = [f.sum(weight * f.col(quoted(column))).alias(column) for column in columns]
    frauds = f.sum((f.col(quoted(label)) == 1).cast("double")) if label in columns else f.lit(0.0)
    seconds = seconds_of(table, contract)
    span = (f.max(seconds) - f.percentile_approx(seconds, STRAYS, 10_000)).alias("span")
    totals = (f.count("*").alias("rows"), frauds.alias("frauds"), f.sum(weight).alias("total"), span)
    first = table.agg(*totals, *sums).first()
    means = {column: float(first[column]) / first["total"] for column in columns}
    apart = {name: f.col(quoted(name)) - mean for name, mean in means.items()}
    squares = [f.sum(weight * each * each).alias(name) for name, each in apart.items()]
    second = table.agg(*squares).first()
    moments = {name: (mean, float((second[name] / first["total"]) ** 0.5)) for name, mean in means.items()}
    pace = Pace(float(first["total"]), float(first["span"]))
    return figures_of(contract, int(first["rows"]), float(first["frauds"]), moments, pace, reference)


def _context() -> "AbstractDataContext":
    # Read when the library is imported, and not from any argument.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    with warnings.catch_warnings():
        # It imports modules that Python has deprecated (sre_constants).
        warnings.simplefilter("ignore", DeprecationWarning)
        # Here because importing it takes seconds that no other step should pay.
        import great_expectations as gx
        from great_expectations.data_context.types.base import (
            DataContextConfig,
            InMemoryStoreBackendDefaults,
            ProgressBarsConfig,
        )
    return gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
            # its own pages load their styles and scripts from elsewhere, and are empty without the internet
            data_docs_sites={},
            progress_bars=ProgressBarsConfig(globally=False),
            analytics_enabled=False,
        ),
    )


def _check(
    context: "AbstractDataContext", name: str, frame: Any, expectations: list[Expectation], run: str
) -> list[ExpectationResult]:
    from great_expectations import Checkpoint, ExpectationSuite, ValidationDefinition
    from great_expectations.core import RunIdentifier
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    configurations = [ExpectationConfiguration(type=each.type, kwargs=each.kwargs) for each in expectations]
    suite = ExpectationSuite(name=name, expectations=[each.to_domain_obj() for each in configurations])
    sources = context.data_sources
    source = sources.add_pandas(name) if isinstance(frame, pd.DataFrame) else sources.add_spark(name)
    batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
    definition = context.validation_definitions.add(
        ValidationDefinition(name=name, data=batch, suite=context.suites.add(suite))
    )
    checkpoint = context.checkpoints.add(
        Checkpoint(name=name, validation_definitions=[definition], result_format="SUMMARY")
    )
    outcome = checkpoint.run(batch_parameters={"dataframe": frame}, run_id=RunIdentifier(run_name=run))
    (result,) = outcome.run_results.values()
    # Results come back with those that raised in front.
    place = {(each.type, each.kwargs.get("column")): number for number, each in enumerate(expectations)}
    return sorted(
        (_as_check(name, each) for each in result.results),
        key=lambda check: place[check.expectation, check.column or None],
    )


def _as_check(suite: str, result: Any) -> ExpectationResult:
    configuration = result.expectation_config
    return ExpectationResult(
        suite=suite,
        expectation=configuration.type,
        column=configuration.kwargs.get("column", ""),
        observed=describe_observed(configuration.kwargs, result.result, result.exception_info),
        limit=describe_limit(configuration.kwargs),
        success=bool(result.success),
    )
