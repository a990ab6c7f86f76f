// Ways into MLflow's own page, where the settings name it.
import { h } from "../../dom.js";

/** A link, or null where nobody said where MLflow's page is. */
export function mlflowLink({ mlflow_page: page }, path, words) {
  return page ? h("p", {}, h("a", { href: `${page.replace(/\/$/, "")}/#/${path}`, rel: "noreferrer" }, words)) : null;
}
