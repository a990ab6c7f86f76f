// A challenger that scores live traffic without answering, beside the version that answers.
import { h } from "../../dom.js";
import { integer, percent } from "../../format.js";
import { tablePanel } from "../model/card.js";

/** @param {Object[]} shadow what /watch says of challengers */
export function shadowPanel(shadow) {
  return tablePanel("Challenger beside the champion", "On what both scored; nobody was answered by the challenger.",
    ["Version", "Scored", "Same decision", "Alerts of both", "Champion's only", "Challenger's only"],
    shadow.map((each) => [
      h("strong", {}, each.model_version), integer(each.rows), percent(each.agree / each.rows),
      integer(each.alerts_both), integer(each.alerts_champion_only), integer(each.alerts_challenger_only)]));
}
