"""Validation of the ingested data: the Great Expectations suite, kept as data, and its run on pandas or on Spark.

``validation_suite.json`` has one list for the table (``transactions``) and one for its weighted figures
(``weighted``). An entry with ``columns`` stands for one expectation per column; ``@name`` stands for a group of
columns, so that no list of 28 names needs to be kept. On Spark the table stays on the executors; only its figures
come to this machine.
"""

import json
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from ml_project.cleaning import CLEAN_COLUMNS
from ml_project.errors import InvalidInput
from ml_project.schema import EVENT_TIME, LABEL, PCA_COMPONENTS, WEIGHT
from pipelines.data.ingest import IngestedMeta, read_meta
from pipelines.data.on_spark import seconds_of
from pipelines.data.validation_report import (
    COMPARED,
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
from pipelines.spark_session import spark_session

if TYPE_CHECKING:
    from great_expectations.data_context import AbstractDataContext

SUITE_FILE: Final = Path(__file__).with_name("validation_suite.json")


@dataclass(frozen=True)
class Expectation:
    """One expectation in Great Expectations' own words: its snake_case type and its arguments."""

    type: str
    kwargs: dict[str, Any]


def validate(frame: pd.DataFrame, meta: IngestedMeta, output: Path, *, suite: Path = SUITE_FILE) -> ValidationReport:
    """Validate ingested data.

    Parameters
    ----------
    frame, meta
        What ``ingest.read_ingested`` gives.
    output : Path
        Folder for the Data Docs, HTML that starts at ``index.html``; pages of an earlier validation there go.
    suite : Path
        The suite's file.

    Raises
    ------
    InvalidInput
        If the suite's file is not a suite. Data that fail are no error: see ``ValidationReport.success``.
    """
    figures = summarise(frame, Reference.load())
    return run_suite(frame, EVENT_TIME in frame, figures, meta, output, suite)


def run_suite(
    table: Any, event_time: bool, figures: dict[str, float], meta: IngestedMeta, output: Path, suite: Path = SUITE_FILE
) -> ValidationReport:
    """Run the suite on a table, a pandas or a Spark data frame, and on its weighted figures; see `validate`."""
    suites = load_suite(suite, event_time=event_time)
    context = _context(output)
    run = f"{meta.source}-{meta.digest[:12]}"
    checks = _check(context, "transactions", table, suites["transactions"], run)
    checks += _check(context, "weighted", pd.DataFrame([figures]), suites["weighted"], run)
    context.build_data_docs()
    return ValidationReport(tuple(checks), figures, output / "index.html")


def load_suite(path: Path = SUITE_FILE, *, event_time: bool = False) -> dict[str, list[Expectation]]:
    """Expectations by suite name; ``event_time`` says whether the data has that optional column.

    Raises
    ------
    InvalidInput
        If the file is not a suite.
    """
    clean = [*CLEAN_COLUMNS, EVENT_TIME] if event_time else [*CLEAN_COLUMNS]
    groups = {
        "@clean": clean,
        "@identity": [column for column in clean if column != WEIGHT],
        "@components": [*PCA_COMPONENTS],
        "@mean_shifts": [f"mean_shift_{column}" for column in COMPARED],
        "@spreads": [f"spread_{column}" for column in COMPARED],
    }
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            name: [expectation for entry in content[name] for expectation in _expand(entry, groups)]
            for name in ("transactions", "weighted")
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"{path}: not a validation suite ({error!r}).", f"See {SUITE_FILE.name} for one.") from error


def _expand(entry: dict[str, Any], groups: dict[str, list[str]]) -> list[Expectation]:
    kwargs = {
        key: groups[value] if isinstance(value, str) and value.startswith("@") else value
        for key, value in entry.get("kwargs", {}).items()
    }
    if "columns" not in entry:
        return [Expectation(entry["type"], kwargs)]
    columns = groups[entry["columns"]] if isinstance(entry["columns"], str) else entry["columns"]
    return [Expectation(entry["type"], {"column": column, **kwargs}) for column in columns]


def validate_on_spark(settings: PipelineSettings, output: Path) -> tuple[ValidationReport, IngestedMeta]:
    """Validate the ingested data on Spark; see `pipelines.data.validation.validate`.

    The content is not compared with its digest, which would need all of it in one place.
    """
    meta = read_meta(settings.dataset_path)
    with spark_session(settings) as spark:
        # Spark has no timestamps of nanoseconds; the suite asks only whether they are there, and differ.
        spark.conf.set("spark.sql.legacy.parquet.nanosAsLong", "true")
        table = spark.read.parquet(str(settings.dataset_path.absolute()))
        figures = summarise_on_spark(table, Reference.load())
        return run_suite(table, EVENT_TIME in table.columns, figures, meta, output), meta


def summarise_on_spark(table: Any, reference: Reference) -> dict[str, float]:
    """The figures of `summarise`, by two aggregations: means, then spreads about them."""
    from pyspark.sql import functions as f

    columns = [column for column in (LABEL, *COMPARED) if column in table.columns]
    weight = f.col(WEIGHT) if WEIGHT in table.columns else f.lit(1.0)
    sums = [f.sum(weight * f.col(column)).alias(column) for column in columns]
    frauds = f.sum((f.col(LABEL) == 1).cast("double")) if LABEL in columns else f.lit(0.0)
    seconds = seconds_of(table)
    span = (f.max(seconds) - f.percentile_approx(seconds, STRAYS, 10_000)).alias("span")
    totals = (f.count("*").alias("rows"), frauds.alias("frauds"), f.sum(weight).alias("total"), span)
    first = table.agg(*totals, *sums).first()
    means = {column: float(first[column]) / first["total"] for column in columns}
    squares = [f.sum(weight * (f.col(name) - mean) * (f.col(name) - mean)).alias(name) for name, mean in means.items()]
    second = table.agg(*squares).first()
    moments = {name: (mean, float((second[name] / first["total"]) ** 0.5)) for name, mean in means.items()}
    pace = Pace(float(first["total"]), float(first["span"]))
    return figures_of(int(first["rows"]), float(first["frauds"]), moments, pace, reference)


def _context(output: Path) -> "AbstractDataContext":
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
    site = {
        "class_name": "SiteBuilder",
        "show_how_to_buttons": False,
        "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(output.resolve())},
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
    }
    return gx.get_context(
        mode="ephemeral",
        project_config=DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
            data_docs_sites={"docs": site},
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
