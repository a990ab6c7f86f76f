"""What MLflow's page shows of runs: names that tell them apart, notes with what came out, and saved views.

A name begins with the outcome, as a table shows some twenty characters of it. A note is Markdown with links that begin
at ``#/``, within MLflow's own page, so that they hold behind any host name.
"""

import base64
import json
import time
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from mlflow.entities import Run as MlflowRun
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

from ml_project.card import FIGURES, Figure
from ml_project.quantities import figure_text, ratio, span_of
from pipelines.settings import PipelineSettings
from pipelines.tracking import DATA_NAME_TAG, OUTCOME_TAG, STEP_TAG, VERSION_TAG, DataPart, Run

SUMMARY_TAG: Final = "fraud.summary"
"""What the note of a run begins with, below its outcome: of a retraining, what its data are made of."""

REFUSED_TAG: Final = "fraud.refused_because"
"""The failed checks of a run's model."""

MAIN_FIGURE: Final = "test_average_precision"
"""What runs are compared by."""

_OUTCOMES: Final = {
    "promoted": "v{version} promoted",
    "refused": "v{version} refused",
    "waiting": "v{version} waits",
    "registered": "v{version} registered",
    "unchanged": "same as v{version}",
}
_BY_HAND: Final = ("main", "train")
_LONGEST: Final = 250


def describe(run: Run, settings: PipelineSettings, sentence: str = "") -> None:
    """Name a pipeline run and write its note, from what the run holds by now.

    Parameters
    ----------
    sentence : str
        The outcome in words, which the note begins with.
    """
    found = run.data
    run.rename(pipeline_name(found))
    run.log(tags={MLFLOW_RUN_NOTE: _note(run, settings, found, sentence)})
    _save_views(run)


def pipeline_name(found: MlflowRun) -> str:
    """Outcome, data and policy of a pipeline run, and why it was made if not by hand."""
    tags, params = found.data.tags, found.data.params
    outcome = tags.get(OUTCOME_TAG, "not judged")
    words = [_OUTCOMES.get(outcome, outcome).format(version=tags.get(VERSION_TAG, "?"))]
    if DATA_NAME_TAG in tags:
        words.append(DataPart.of(tags[DATA_NAME_TAG], "").name)
    words += [params["policy"]] if "policy" in params else []
    made_by = tags.get(STEP_TAG, "main")
    if made_by not in _BY_HAND:
        reason = params.get("reason", made_by)
        words.append(made_by if reason == made_by else f"{made_by} ({reason})")
    return " · ".join(words)[:_LONGEST]


def page_of(run: Run | MlflowRun, tab: str = "") -> str:
    """The address of a run within MLflow's page; ``tab`` is such as ``artifacts/gate.html``."""
    experiment, run_id = (
        (run.experiment_id, run.id) if isinstance(run, Run) else (run.info.experiment_id, run.info.run_id)
    )
    return f"#/experiments/{experiment}/runs/{run_id}{f'/{tab}' if tab else ''}"


def _note(run: Run, settings: PipelineSettings, found: MlflowRun, sentence: str) -> str:
    tags, metrics = found.data.tags, found.data.metrics
    parts = [f"**{sentence}**"] if sentence else []
    if VERSION_TAG in tags:
        judged = tags.get(OUTCOME_TAG) != "unchanged"
        pages = {"gate report": "gate.html", "model card": "card.html"} if judged else {}
        links = [f"[{words}]({page_of(run, f'artifacts/{page}')})" for words, page in pages.items()]
        version = tags[VERSION_TAG]
        parts.append(" · ".join([*links, f"[version {version}](#/models/{settings.model_name}/versions/{version})"]))
    parts += [tags[SUMMARY_TAG]] if SUMMARY_TAG in tags else []
    named = {f"test_{figure}": words for figure, words in FIGURES.items()}
    rows = [
        f"- {words}: {interval_in_words(name, figure_of(metrics, name), settings.money)}"
        for name, words in named.items()
        if f"{name}_low" in metrics
    ]
    if rows:
        parts.append("\n".join(["The evaluation twin on test, with 95 % intervals:", "", *rows]))
    lines = [f"- {line}" for line in _children(run, metrics)]
    if lines:
        parts.append("\n".join(["In this run:", "", *lines]))
    return "\n\n".join(parts)


def figure_of(metrics: Mapping[str, float], name: str) -> Figure:
    """A metric and the ends of its interval."""
    return Figure(value=metrics[name], low=metrics[f"{name}_low"], high=metrics[f"{name}_high"])


def interval_in_words(name: str, figure: Figure, currency: str) -> str:
    """A figure by its name, and its interval, for MLflow's page, whose tables have no room between their cells."""
    value, low, high = (figure_text(name, each, currency) for each in (figure.value, figure.low, figure.high))
    return f"**{value}** ({span_of(low, high)})"


def _children(run: Run, metrics: dict[str, float]) -> Iterable[str]:
    """A line for each kind of child, with links."""
    kinds: dict[str, list[MlflowRun]] = {}
    for child in run.children():
        kinds.setdefault(child.data.tags.get("kind", ""), []).append(child)
    for child in kinds.get("validation", []):
        passed = "passed" if child.data.tags.get("validation.passed", "").lower() == "true" else "failed"
        yield f"validation {_link(child, passed)}, [its report]({page_of(child, 'artifacts/data_docs/index.html')})"
    trials = [child for child in kinds.get("trial", []) if "average_precision" in child.data.metrics]
    if trials:
        best = max(trials, key=lambda child: child.data.metrics["average_precision"])
        count = len(kinds["trial"])
        figure = ratio(best.data.metrics["average_precision"])
        yield f"best of {count} trials: {_link(best)}, average precision {figure} on the folds of train"
    models = [(child, child.data.metrics[MAIN_FIGURE]) for child in kinds.get("baseline", [])]
    if models:
        measured = ", ".join(f"{_link(child)} {ratio(figure)}" for child, figure in models)
        yield f"average precision of {measured}; of the twin {ratio(metrics[MAIN_FIGURE])}"
    policies = sorted(kinds.get("policy", []), key=lambda child: child.data.params["policy"])
    if policies:
        yield f"thresholds: {', '.join(_link(child, child.data.params['policy']) for child in policies)}"


def _link(child: MlflowRun, words: str = "") -> str:
    return f"[{words or child.info.run_name}]({page_of(child)})"


_TAG: Final = "mlflow.sharedViewState."
_BEST: Final = "best"


def runs_page(experiment_id: str) -> str:
    """The address, within MLflow's page, of the pipeline runs with the best on top (a saved view)."""
    view = urlencode({"workflowType": "machine_learning", "viewStateShareKey": _BEST})
    return f"#/experiments/{experiment_id}/runs?{view}"


def _save_views(run: Run) -> None:
    """Save what MLflow's page offers under "Views" of the experiment's runs; a view that is there is left alone."""
    known = run.client.get_experiment(run.experiment_id).tags
    for key, (name, state) in _views().items():
        if _TAG + key not in known:
            packed = base64.b64encode(zlib.compress(json.dumps(state).encode())).decode()
            view = {"name": name, "createdAt": int(time.time() * 1000), "state": f"deflate;{packed}"}
            run.client.set_experiment_tag(run.experiment_id, _TAG + key, json.dumps(view))


def _views() -> dict[str, tuple[str, dict[str, Any]]]:
    parents = f"tags.`{STEP_TAG}` LIKE '%'"
    best = _view(
        f"{parents} and metrics.`{MAIN_FIGURE}` >= 0",
        f"metrics.`{MAIN_FIGURE}`",
        # ends of intervals would look like further figures: MLflow cuts the columns' names
        [f"metrics.`{MAIN_FIGURE}`", "metrics.`test_cost_per_day`", "params.`policy`", "params.`reason`"],
    )
    refused = _view(
        f"tags.`{OUTCOME_TAG}` = 'refused'",
        "attributes.`Created`",
        [f"tags.`{REFUSED_TAG}`", f"metrics.`{MAIN_FIGURE}`", "params.`policy`"],
    )
    shape, value = ["learning_rate", "rounds"], "average_precision"
    trials = _view(
        "tags.`kind` = 'trial'",
        f"metrics.`{value}`",
        [f"metrics.`{value}`", *(f"params.`{name}`" for name in (*shape, "max_depth", "blend_weight"))],
    )
    section = "tuning"
    card = {"metricSectionId": section, "deleted": False, "isGenerated": False, "runsCountToCompare": 100}
    axes = {
        axis: {"key": key, "type": kind}
        for axis, key, kind in (
            ("xaxis", shape[0], "PARAM"),
            ("yaxis", shape[1], "PARAM"),
            ("zaxis", value, "METRIC"),
        )
    }
    trials |= {
        "runsHiddenMode": "SHOWALL",
        "compareRunSections": [{"uuid": section, "name": "Trials", "display": True, "isReordered": False}],
        "compareRunCharts": [
            {
                **card,
                "uuid": "parallel",
                "type": "PARALLEL",
                "selectedParams": [*shape, "max_depth", "blend_weight"],
                "selectedMetrics": [value],
                "showAllRuns": True,
            },
            {**card, "uuid": "contour", "type": "CONTOUR", **axes},
        ],
    }
    return {
        _BEST: ("Which run is best?", best),
        "refused": ("Why was it refused?", refused),
        "trials": ("Trials", trials),
    }


def _view(condition: str, order: str, columns: list[str]) -> dict[str, Any]:
    return {
        "searchFilter": condition,
        "orderByKey": order,
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "selectedColumns": ["attributes.`Created`", *columns],
    }
