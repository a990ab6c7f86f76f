"""List the finished runs, the best average precision first, and promote the best one through the gate.

    python examples/compare_and_promote.py                # only the list
    python examples/compare_and_promote.py --promote      # exit code 1 when the gate refuses

MLflow and the stores are those of the environment (FRAUD_TRACKING_URI, FRAUD_STATE_DIR ...), as for
`python -m pipelines`.
"""

import argparse
import sys

from mlflow import MlflowClient

from pipelines.promotion.promote import Order, Outcome
from pipelines.settings import PipelineSettings
from pipelines.training.steps import run_promote
from stores.mlflow_client import quiet_mlflow

FIGURE = "test_average_precision"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--promote", action="store_true", help="promote the best run")
    options = parser.parse_args()
    quiet_mlflow()
    settings = PipelineSettings()
    client = MlflowClient(settings.mlflow_uri)
    experiment = client.get_experiment_by_name(settings.experiment)
    finished = "tags.`fraud.done.threshold` = 'true'"
    runs = (
        client.search_runs([experiment.experiment_id], finished, order_by=[f"metrics.{FIGURE} DESC"])
        if experiment
        else []
    )
    if not runs:
        print("There is no finished run. Start one with `python -m pipelines main`.", file=sys.stderr)
        return 2
    for run in runs:
        metrics, tags = run.data.metrics, run.data.tags
        interval = f"{metrics[FIGURE]:.3f} [{metrics[FIGURE + '_low']:.3f}, {metrics[FIGURE + '_high']:.3f}]"
        version = f"version {tags['fraud.version']}" if "fraud.version" in tags else "not registered"
        print(f"{run.info.run_id}  {interval}  {tags['fraud.policy']}, {tags['data.source']} data, {version}")
    if not options.promote:
        return 0
    promotion = run_promote(settings, runs[0].info.run_id, order=Order(reason="best average precision on later rows"))
    print(promotion.sentence)
    return 0 if promotion.outcome in (Outcome.PROMOTED, Outcome.UNCHANGED) else 1


if __name__ == "__main__":
    sys.exit(main())
