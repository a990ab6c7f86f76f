// Ways into MLflow's own page, where the settings name it.
import { h } from "../../dom.js";

/** A link in an element of its own, or null where nobody said where MLflow's page is. */
export function mlflowLink({ mlflow_page: page }, path, words, element = "p") {
  return page ? h(element, {}, h("a", { href: `${page.replace(/\/$/, "")}/#/${path}`, rel: "noreferrer" }, words)) : null;
}
