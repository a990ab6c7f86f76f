// A scored file at a glance: rows of each decision, the amount at risk, the spread of scores; and the rows that could not be scored.
import { histogram, scoreAxis } from "../../charts/scores.js";
import { h } from "../../dom.js";
import { integer, part, percent, total } from "../../format.js";
import { notice } from "../parts/notice.js";
import { download, quoted } from "./contents.js";

const SHOWN = 200;

/**
 * Rows of each decision, the amount at risk, the spread of scores.
 * @param {import("./results.js").Results} results
 * @param {{decline: number|null, amount: string|null, label: string, frauds: Set|null, labelled: Set|null}} about the decline
 *   threshold, where it is known; what the contract calls the amount and the label; lines that the file itself labels
 * @returns {HTMLElement}
 */
export function summaryOf(results, { decline, amount, label, frauds, labelled }) {
  const byDecision = results.summary();
  const risk = byDecision[1].amount + byDecision[2].amount;
  const alerts = byDecision[1].rows + byDecision[2].rows;
  return h("section", { class: "panel summary", "aria-labelledby": "summary-title" },
    h("h2", { id: "summary-title" }, "Summary"),
    results.spooled && notice("warning", "The decision database was unreachable: predictions are kept on the gateway’s machine until it is back."),
    h("dl", { class: "figures" },
      byDecision.map(({ decision, rows }) => h("div", {},
        h("dt", {}, h("span", { class: "badge", "data-decision": decision }, decision)),
        h("dd", {}, integer(rows), h("span", { class: "share" }, results.count ? percent(rows / results.count) : "")))),
      amount !== null && h("div", {}, h("dt", {}, `${amount} at risk`),
        h("dd", {}, total(risk), h("span", { class: "share" }, `in ${integer(alerts)} ${alerts === 1 ? "alert" : "alerts"}`))),
      h("div", {}, h("dt", {}, "Bad rows"), h("dd", {}, integer(results.bad.length))),
      h("div", {}, h("dt", {}, "Model version"), h("dd", {}, results.version ?? "–"))),
    frauds && outcomesOf(results, label, frauds, labelled),
    results.count > 0 && h("figure", {},
      histogram(results.scores, { alert: results.alert, decline }),
      h("figcaption", { class: "muted small" },
        "Rows by score. Heights are logarithmic, so that a few frauds can be seen beside many ordinary rows",
        scoreAxis(results.alert).logarithmic ? ", and so is the score’s own scale." : ".")));
}

/** What the decisions were worth, by the file's own labels. */
function outcomesOf(results, label, frauds, labelled) {
  let [alerts, caught, known] = [0, 0, 0];
  for (let place = 0; place < results.count; place += 1) {
    const [line, alert] = [results.row[place], results.decision[place] > 0];
    if (labelled.has(line)) {
      known += frauds.has(line);
      alerts += alert;
      caught += alert && frauds.has(line);
    }
  }
  const entry = (name, value, words) => h("div", {}, h("dt", {}, name), h("dd", {}, value, h("span", { class: "share" }, words)));
  return h("section", { class: "section", "aria-label": "By the labels in the file" },
    h("h3", {}, `By the labels in the file (${label})`),
    h("dl", { class: "figures" },
      entry("Recall", known > 0 ? part(caught, known) : "–", `${integer(caught)} of ${integer(known)} frauds raised an alert`),
      entry("Precision", alerts > 0 ? part(caught, alerts) : "–", `${integer(caught)} of ${integer(alerts)} labelled alerts were fraud`),
      entry("Missed", integer(known - caught), "frauds were approved")));
}

/**
 * Rows that could not be scored: where they stand, and why.
 * @param {{row: number, message: string}[]} bad
 * @param {{lines: boolean, name: string, cells: Map}} about lines: whether rows are lines of a CSV, or places from 0; name of the
 *   file; cells of bad rows, where they are known
 * @returns {HTMLElement|null}
 */
export function badRows(bad, { lines, name, cells }) {
  if (bad.length === 0) {
    return null;
  }
  const where = lines ? "Line" : "Row (from 0)";
  const save = () => download(`${name}-bad-rows.csv`, [
    [lines ? "line" : "row", "error"],
    ...bad.map(({ row, message }) => [row, quoted(message, cells.get(row))]),
  ]);
  return h("section", { class: "panel", "aria-labelledby": "bad-title" },
    h("div", { class: "row apart" },
      h("h2", { id: "bad-title" }, `${integer(bad.length)} bad ${bad.length === 1 ? "row" : "rows"}`),
      h("button", { type: "button", onclick: save }, "Download bad rows")),
    h("p", { class: "muted small" }, "These were not scored; all others were.",
      bad.length > SHOWN && ` The first ${SHOWN} are shown.`),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Bad rows" },
      h("table", {},
        h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "number place" }, where), h("th", { scope: "col" }, "What is wrong"))),
        h("tbody", {}, bad.slice(0, SHOWN).map(({ row, message }) =>
          h("tr", {}, h("td", { class: "number" }, String(row)), h("td", { class: "wrap" }, quoted(message, cells.get(row)))))))));
}
