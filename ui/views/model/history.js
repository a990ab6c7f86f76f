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
    return [h("section", { class: "panel" }, h("h2", {}, "History"), errorNotice(history.error))];
  }
  const partial = history.source === "release pointer"
    ? notice("warning", "MLflow is unreachable: only the latest promotion is known.") : null;
  return [tablePanel("History", "Every change of the live version, newest first.",
    ["When", "What", "From", "To", "Who", "Why", "Gate"],
    history.moves.slice(0, SHOWN).map((move) => [
      dateTime(move.when),
      `${KINDS[move.kind] || "Promoted"}${move.outcome === "done" ? "" : ` (${move.outcome})`}`,
      move.origin ?? "–",
      move.to ?? "–",
      move.asked_by ? `${move.who || "–"}, asked by ${move.asked_by}` : move.who || "–",
      h("span", { class: "why" }, move.why || "–"),
      move.gate,
    ]), partial), refusalsOf(history)];
}

function refusalsOf({ source, refusals }) {
  if (source !== "history") {
    return null;
  }
  return refusals.length === 0
    ? h("section", { class: "panel" }, h("h2", {}, "Refusals"), h("p", { class: "muted" }, "The gate has refused no candidate."))
    : tablePanel("Refusals", "Candidates that the gate kept out, newest first.", ["When", "Version", "Who", "Why"],
      refusals.slice(0, SHOWN).map((move) => [
        dateTime(move.when), move.to ?? "–", move.who || "–", h("span", { class: "why" }, move.why || "–")]));
}
