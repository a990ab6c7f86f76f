// Rows that could not be scored: where they stand, and why.
import { h } from "../../dom.js";
import { integer } from "../../format.js";
import { quoted } from "./contents.js";
import { download } from "./download.js";

const SHOWN = 200;

/**
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
