// A chart with its title, its key, and the same figures as a table: drawn anew when its width or its data change.
import { fill, h } from "../dom.js";

/**
 * @param {string} title
 * @param {Array} [key] [{kind, name}] what the colours mean
 * @returns {{element: HTMLElement, show: function, end: function}} `show({draw, note, table, empty})`: `draw(width)` gives the
 *   SVG, `table` is {head: [...], rows: [[...], ...]}; `empty`: there is nothing to draw yet
 */
export function figure(title, key = []) {
  const plot = h("div", { class: "plot" });
  const note = h("p", { class: "muted small" });
  const rows = h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `${title}, as a table` });
  const details = h("details", {}, h("summary", {}, "As a table"), rows);
  const element = h("figure", { class: "figure" },
    h("figcaption", {}, h("h3", {}, title), note),
    key.length > 0 && h("ul", { class: "key" },
      key.map(({ kind, name }) => h("li", {}, h("span", { class: `swatch ${kind}`, "aria-hidden": "true" }), name))),
    plot, details);
  let shown = null;
  let drawnAt = 0;

  function redraw() {
    const width = Math.floor(plot.clientWidth);
    if (shown && width > 0) {
      drawnAt = width;
      fill(plot, shown.empty ? h("p", { class: "muted nothing" }, "No data yet.") : shown.draw(width));
      details.hidden = Boolean(shown.empty);
    }
  }

  const resized = new ResizeObserver(() => Math.floor(plot.clientWidth) !== drawnAt && redraw());
  resized.observe(plot);

  function fillTable() {
    if (details.open && shown) {
      fill(rows, h("table", {},
        h("thead", {}, h("tr", {}, shown.table.head.map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, shown.table.rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell)))))));
    }
  }
  details.addEventListener("toggle", fillTable);

  return {
    element,
    show(next) {
      shown = next;
      fill(note, next.note || "");
      redraw();
      fillTable();
    },
    end: () => resized.disconnect(),
  };
}
