// The scored rows, a page at a time: filtered, sorted, and to download as they are shown.
import { fill, h } from "../../dom.js";
import { amount, integer, percent, score } from "../../format.js";
import { errorNotice } from "../parts/notice.js";
import { detailOf } from "../review/detail.js";
import { DECISIONS } from "./results.js";
import { download } from "./contents.js";

const PAGE = 50;
const COLUMNS = [
  { by: "row", title: "Line" },
  { by: "decision", title: "Decision" },
  { by: "score", title: "Score" },
  { by: "probability", title: "Probability" },
  { by: "amount", title: null },
];

export class ResultTable {
  #results;
  #name;
  #named;
  #amount;
  #order = { by: "score", descending: true };
  #filter = { decision: null, text: "", least: null };
  #page = 0;
  #chosen;
  #body = h("tbody");
  #where = h("p", { class: "muted small", role: "status" });
  #pages = h("div", { class: "row" });
  #headers = new Map();
  #about = {};
  #detail = h("article", { class: "panel", "aria-label": "Row", tabindex: "-1", hidden: true });

  /**
   * @param {import("./results.js").Results} results
   * @param {{lines: boolean, name: string, amount: string|null, catalogue: Object|null, frauds: Set|null, api: Object}} about
   *   amount: what the contract calls it; frauds: lines that the file calls so
   */
  constructor(results, { lines, name, amount: amountName, catalogue, frauds, api }) {
    Object.assign(this.#about, { catalogue, frauds, api });
    this.#results = results;
    this.#amount = amountName;
    this.#name = name;
    this.#named = results.transactionIds.some(Boolean);
    const columns = COLUMNS.filter(({ by }) => by !== "amount" || amountName !== null);
    const heads = columns.map(({ by, title }) => this.#head(by, by === "row" && !lines ? "Row" : title ?? amountName));
    this.element = h("section", { class: "panel", "aria-labelledby": "rows-title" },
      h("div", { class: "row apart" }, h("h2", { id: "rows-title" }, "Rows"),
        h("button", { type: "button", onclick: () => this.#save() }, "Download as CSV")),
      this.#filters(), this.#detail, this.#where,
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Scored rows" },
        h("table", {}, h("thead", {}, h("tr", {}, heads, this.#named && h("th", { scope: "col" }, "Transaction id"),
          frauds && h("th", { scope: "col" }, "Label"), h("th", { scope: "col" }, "Prediction id"))), this.#body)),
      this.#pages);
    this.#choose();
  }

  #filters() {
    const decision = h("select", { id: "filter-decision" }, h("option", { value: "" }, "All decisions"),
      DECISIONS.map((name, place) => h("option", { value: place }, name)));
    const least = h("input", { id: "filter-amount", inputmode: "decimal", autocomplete: "off" });
    const text = h("input", { id: "filter-text", type: "search", autocomplete: "off", spellcheck: "false" });
    const change = () => {
      const number = Number.parseFloat(least.value);
      this.#filter = { decision: decision.value === "" ? null : Number(decision.value), text: text.value.trim(),
        least: Number.isFinite(number) ? number : null };
      this.#choose();
    };
    decision.addEventListener("change", change);
    [least, text].forEach((input) => input.addEventListener("input", change));
    return h("div", { class: "filters", role: "group", "aria-label": "Filter" },
      h("div", { class: "field" }, h("label", { for: "filter-decision" }, "Decision"), decision),
      this.#amount !== null && h("div", { class: "field" }, h("label", { for: "filter-amount" }, `${this.#amount} from`), least),
      h("div", { class: "field" }, h("label", { for: "filter-text" }, "Id or line"), text));
  }

  #head(by, title) {
    const head = h("th", { scope: "col", class: by === "decision" ? null : "number" },
      h("button", { type: "button", class: "sort", onclick: () => this.#sort(by) }, title));
    this.#headers.set(by, head);
    return head;
  }

  #sort(by) {
    this.#order = { by, descending: this.#order.by === by ? !this.#order.descending : by !== "row" };
    this.#choose();
  }

  #choose() {
    this.#chosen = this.#results.select(this.#filter, this.#order);
    for (const [by, head] of this.#headers) {
      const mine = by === this.#order.by;
      head.setAttribute("aria-sort", mine ? (this.#order.descending ? "descending" : "ascending") : "none");
    }
    this.#show(0);
  }

  #show(page) {
    this.#page = page;
    const { length } = this.#chosen;
    const last = Math.max(0, Math.ceil(length / PAGE) - 1);
    const rows = [...this.#chosen.subarray(page * PAGE, (page + 1) * PAGE)];
    fill(this.#body, rows.map((place) => this.#row(place)));
    fill(this.#where, length === 0 ? "No rows match."
      : `${integer(page * PAGE + 1)} to ${integer(page * PAGE + rows.length)} of ${integer(length)} ${length === 1 ? "row" : "rows"}`);
    const go = (title, to, name) => h("button", { type: "button", "aria-label": name, disabled: to < 0 || to > last || to === page,
      onclick: () => this.#show(to) }, title);
    const focused = document.activeElement?.getAttribute("aria-label");
    fill(this.#pages, go("First", 0, "First page"), go("Previous", page - 1, "Previous page"),
      h("span", { class: "muted" }, `Page ${integer(page + 1)} of ${integer(last + 1)}`),
      go("Next", page + 1, "Next page"), go("Last", last, "Last page"));
    [...this.#pages.querySelectorAll("button")].find((button) => button.getAttribute("aria-label") === focused)?.focus();
  }

  #row(place) {
    const results = this.#results;
    const decision = DECISIONS[results.decision[place]];
    const number = (text) => h("td", { class: "number" }, text);
    const id = results.predictionIds[place];
    const line = String(results.row[place]);
    const open = h("button", { type: "button", class: "sort", "aria-label": `Open ${line}`, onclick: () => this.#open(id, line) }, line);
    return h("tr", {}, h("td", { class: "number" }, id ? open : line),
      h("td", {}, h("span", { class: "badge", "data-decision": decision }, decision)),
      number(score(results.score[place])), number(percent(results.probability[place])),
      this.#amount !== null && number(amount(results.amount[place])), this.#named && h("td", { class: "code" }, results.transactionIds[place]),
      this.#about.frauds && h("td", {}, this.#about.frauds.has(results.row[place]) ? "fraud" : ""),
      h("td", { class: "code" }, id || "not kept"));
  }

  /** Shows all that the gateway keeps of a row. */
  async #open(id, line) {
    this.#detail.hidden = false;
    try {
      const item = await this.#about.api.get(`predictions/${id}`);
      fill(this.#detail, h("div", { class: "row apart" }, h("h3", {}, `Row ${line}`),
        h("button", { type: "button", class: "quiet", onclick: () => { this.#detail.hidden = true; } }, "Close")),
      detailOf(item, this.#about.catalogue));
    } catch (error) {
      fill(this.#detail, errorNotice(error));
    }
    this.#detail.scrollIntoView({ block: "nearest" });
    this.#detail.focus({ preventScroll: true });
  }

  #save() {
    const { row, decision, score, probability, amount: amounts, transactionIds, predictionIds } = this.#results;
    const header = ["row", "transaction_id", "decision", "hybrid_score", "fraud_probability", "amount", "prediction_id"];
    download(`${this.#name}-scored.csv`, [header, ...Array.from(this.#chosen, (place) => [row[place],
      transactionIds[place], DECISIONS[decision[place]], score[place], probability[place], amounts[place],
      predictionIds[place]])]);
  }
}
