"""Runs the suite with Great Expectations and writes its Data Docs."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ml_project.schema import EVENT_TIME
from pipelines.ingest import IngestedMeta
from pipelines.validation.report import Check, ValidationReport, describe_limit, describe_observed
from pipelines.validation.suite import SUITE_FILE, Expectation, load_suite
from pipelines.validation.summary import Reference, summarise

if TYPE_CHECKING:
    from great_expectations.data_context import AbstractDataContext


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
    return check(frame, EVENT_TIME in frame, figures, meta, output, suite)


def check(
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
) -> list[Check]:
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


def _as_check(suite: str, result: Any) -> Check:
    configuration = result.expectation_config
    return Check(
        suite=suite,
        expectation=configuration.type,
        column=configuration.kwargs.get("column", ""),
        observed=describe_observed(configuration.kwargs, result.result, result.exception_info),
        limit=describe_limit(configuration.kwargs),
        success=bool(result.success),
    )
