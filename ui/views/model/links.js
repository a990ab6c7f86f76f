// Ways into MLflow's own page, where the settings name it.
import { h } from "../../dom.js";

/** A link in an element of its own, or null where nobody said where MLflow's page is. */
export function mlflowLink({ mlflow_page: page }, path, words, element = "p") {
  return page ? h(element, {}, h("a", { href: `${page.replace(/\/$/, "")}/#/${path}`, rel: "noreferrer" }, words)) : null;
}

/** A link to the table of runs with the best on top, which `pipelines/run_page.py` saves; of a version without a card, to all experiments. */
export function runsLink(settings, card) {
  const experiment = card?.lineage.experiment;
  const path = experiment ? `experiments/${experiment}/runs?workflowType=machine_learning&viewStateShareKey=best` : "experiments";
  return mlflowLink(settings, path, "Runs in MLflow", "span");
}
