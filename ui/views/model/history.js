// Who made which version answer, when and why.
import { h } from "../../dom.js";
import { dateTime } from "../../format.js";
import { errorNotice, notice } from "../parts/notice.js";
import { tablePanel } from "./card.js";

const KINDS = { promote: "Promoted", rollback: "Rolled back", policy: "Policy changed", outside: "Moved in MLflow" };
const SHOWN = 20;

/** @param {Object} history what /model/history answers, or {error} */
export function historyOf(history) {
  if (history.error) {
    return h("section", { class: "panel" }, h("h2", {}, "History"), errorNotice(history.error));
  }
  const partial = history.source === "release pointer"
    ? notice("warning", "MLflow is away: only the latest promotion is known.") : null;
  return tablePanel("History", "Every move of Production, the newest first.",
    ["When", "What", "From", "To", "Who", "Why", "Gate"],
    history.moves.slice(0, SHOWN).map((move) => [
      dateTime(move.when),
      `${KINDS[move.kind] || "Promoted"}${move.outcome === "done" ? "" : ` (${move.outcome})`}`,
      move.origin ?? "–",
      move.to ?? "–",
      move.asked_by ? `${move.who || "–"}, asked by ${move.asked_by}` : move.who || "–",
      h("span", { class: "why" }, move.why || "–"),
      move.gate,
    ]), partial);
}
