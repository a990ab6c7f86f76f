// The form of one transaction, made from the contract: each field with a control of its type, and room for what the API
// says of it. What has a role or moves the score most comes first; many fields are folded up in groups and can be searched.
import { fill, h } from "../../dom.js";
import { isNumber, typed } from "../../fields.js";
import { significant } from "../../format.js";

const SELECT = 24;
const SEARCHED = 20;
const SHORT = 10;

export class TransactionForm {
  #catalogue;
  #entries = new Map();
  #groups = [];
  #changed;
  #none = h("p", { class: "muted small", hidden: true, role: "status" }, "No field has that name.");

  /** @param {{catalogue: import("../../fields.js").Catalogue, currency: string, onSubmit: function(),
   *   onChange: function()}} options */
  constructor({ catalogue, currency, onSubmit, onChange = () => {} }) {
    this.#changed = onChange;
    this.#catalogue = catalogue;
    const { first, groups } = catalogue.arranged;
    const fields = (some) => some.map((field) => this.#field(field, currency));
    const head = h("div", { class: "pair" }, fields(first));
    this.#groups = groups.map(({ name, fields: members }) => {
      const filled = h("span", { class: "muted" });
      const element = h("details", {}, h("summary", {}, `${name} `, filled), h("div", { class: widthOf(members) }, fields(members)));
      return { element, filled, names: members.map((field) => field.name) };
    });
    const rest = groups.flatMap(({ fields: members }) => members).length;
    this.button = h("button", { class: "primary", type: "submit" }, "Score");
    this.element = h("form", { novalidate: true, class: "transaction", "aria-label": "Transaction" },
      head, rest > SEARCHED && this.#search(), this.#groups.map(({ element }) => element), this.#none,
      h("div", { class: "pair" }, fields(catalogue.naming)),
      h("div", { class: "row" }, this.button,
        h("button", { type: "button", class: "quiet", onclick: () => this.set({}) }, "Clear")));
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      onSubmit();
    });
    this.element.addEventListener("input", () => {
      this.#count();
      this.#changed();
    });
    this.#count();
  }

  /** Fields as they will be sent; those without a value are left out. */
  read() {
    const body = {};
    for (const [name, { field, control }] of this.#entries) {
      const text = control.value.trim();
      if (text) {
        body[name] = typed(field, text);
      }
    }
    return body;
  }

  /** What is in the form, as text by field. */
  get values() {
    return Object.fromEntries([...this.#entries].map(([name, { control }]) => [name, control.value]));
  }

  /** Fills the form; fields that are not named become empty. */
  set(values) {
    for (const [name, { control }] of this.#entries) {
      const text = String(values[name] ?? "");
      if (control.tagName === "SELECT" && text && ![...control.options].some(({ value }) => value === text)) {
        control.append(h("option", { value: text }, text)); // a value that training never saw can be tried, too
      }
      control.value = text;
    }
    this.show([]);
    this.#count();
    this.#changed();
  }

  /**
   * Puts the API's faults beside their fields and goes to the first.
   * @param {{field?: string, message: string}[]} errors
   * @returns {string[]} messages of faults that no field has
   */
  show(errors) {
    const rest = [];
    for (const { control, fault } of this.#entries.values()) {
      control.removeAttribute("aria-invalid");
      fill(fault);
    }
    for (const { field, message } of errors) {
      const entry = this.#entries.get(field);
      if (entry) {
        entry.control.setAttribute("aria-invalid", "true");
        fill(entry.fault, message);
      } else {
        rest.push(field ? `${field}: ${message}` : message);
      }
    }
    for (const { element, names } of this.#groups) {
      element.open ||= names.some((name) => this.#entries.get(name).control.hasAttribute("aria-invalid"));
    }
    this.element.querySelector("[aria-invalid]")?.focus();
    return rest;
  }

  #field(field, currency) {
    const id = `field-${this.#entries.size}`;
    const control = controlOf(field, { id, name: field.name, autocomplete: "off", "aria-describedby": `${id}-fault` });
    const fault = h("span", { id: `${id}-fault`, class: "fault" });
    const element = h("div", { class: "field" },
      h("label", { for: id, title: field.description || null }, labelOf(field, currency)), control.element, fault);
    this.#entries.set(field.name, { field, control: control.input, fault, element });
    return element;
  }

  #search() {
    const input = h("input", { type: "search", id: "field-search", autocomplete: "off", spellcheck: "false" });
    input.addEventListener("input", (event) => {
      event.stopPropagation();
      this.#find(input.value.trim().toLowerCase());
    });
    return h("div", { class: "field" },
      h("label", { for: "field-search" }, `Find one of ${this.#catalogue.scored.length} fields`), input);
  }

  #find(wanted) {
    let found = 0;
    for (const { element, names } of this.#groups) {
      const matching = names.filter((name) => {
        const { field, element: place } = this.#entries.get(name);
        place.hidden = !`${name} ${field.description}`.toLowerCase().includes(wanted);
        return !place.hidden;
      });
      element.hidden = matching.length === 0;
      element.open = wanted !== "" && matching.length > 0;
      found += matching.length;
    }
    this.#none.hidden = found > 0;
  }

  #count() {
    for (const { filled, names } of this.#groups) {
      const count = names.filter((name) => this.#entries.get(name).control.value.trim()).length;
      fill(filled, `${count} of ${names.length} filled`);
    }
  }
}

/** Columns as wide as the names want them. */
function widthOf(members) {
  return Math.max(...members.map(({ name }) => name.length)) > SHORT ? "components wide" : "components";
}

function labelOf(field, currency) {
  const money = `, in ${field.decimals ? `1/${10 ** field.decimals} ` : ""}${field.unit || currency}`;
  const unit = field.role === "amount" ? money : field.role === "time" && !/second/i.test(field.name) ? ", in seconds" : "";
  return `${field.name}${unit}${field.required ? "" : " (optional)"}`;
}

/** @returns {{element: Node, input: HTMLElement}} what is shown, and what holds the value */
function controlOf(field, attributes) {
  const values = field.type === "boolean" ? ["true", "false"] : field.values ?? [];
  if (values.length > 0 && values.length <= SELECT) {
    const words = (value) => field.type === "boolean" ? { true: "yes", false: "no" }[value] : value;
    const input = h("select", attributes, h("option", { value: "" }, field.required ? "choose…" : "none"),
      values.map((value) => h("option", { value }, words(value))));
    return { element: input, input };
  }
  const input = h("input", { ...attributes, spellcheck: "false", placeholder: hintOf(field),
    inputmode: isNumber(field) ? "decimal" : null, list: values.length > 0 ? `${attributes.id}-values` : null });
  if (values.length > 0) {
    return { element: [input, h("datalist", { id: `${attributes.id}-values` }, values.map((value) => h("option", { value })))], input };
  }
  if (field.type === "timestamp") {
    const now = h("button", { type: "button", class: "quiet", onclick: () => {
      input.value = new Date().toISOString().replace(/\.\d+/, "");
      input.dispatchEvent(new Event("input", { bubbles: true }));
    }, "aria-label": `Now, for ${field.name}` }, "Now");
    return { element: h("div", { class: "beside" }, input, now), input };
  }
  return { element: input, input };
}

function hintOf(field) {
  const range = field.training_range;
  if (field.type === "timestamp") {
    return "2026-01-31T12:00Z";
  }
  return isNumber(field) && range && range.minimum !== null && !range.unit
    ? `${significant(range.minimum, 2)} to ${significant(range.maximum, 2)}` : null;
}
