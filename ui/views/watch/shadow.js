// A challenger that scores live traffic without answering, beside the version that answers.
import { h } from "../../dom.js";
import { integer, part, percent } from "../../format.js";
import { tablePanel } from "../model/card.js";

/** @param {Object[]} shadow what /watch says of challengers */
export function shadowPanel(shadow) {
  return tablePanel("Challenger beside the champion",
    "On transactions that both scored; only the champion’s decisions counted. Outcomes are of those that are labelled by now.",
    ["Challenger", "Scored", "Same decision", "Alerts of both", "Champion’s only", "Challenger’s only", "Frauds caught by champion",
      "Frauds caught by challenger", "False alarms of champion", "False alarms of challenger"],
    shadow.map((each) => [
      h("strong", {}, each.model_version), integer(each.rows), percent(each.agree / each.rows),
      integer(each.alerts_both), integer(each.alerts_champion_only), integer(each.alerts_challenger_only),
      caught(each.frauds_champion, each), caught(each.frauds_challenger, each),
      integer(each.false_alarms_champion), integer(each.false_alarms_challenger)]));
}

function caught(count, { frauds }) {
  return frauds === 0 ? "no labels yet" : frauds < 20 ? part(count, frauds) : `${part(count, frauds)} of ${integer(frauds)}`;
}
