// The form of one transaction: 30 raw fields and two optional ones, each with room for what the API says of it.
import { fill, h } from "../../dom.js";
import { COMPONENTS, NAMING_FIELDS, RAW_FIELDS } from "../../fields.js";

const LABELS = {
  Time: "Time, in seconds",
  transaction_id: "Transaction id (optional)",
  event_time: "Event time (optional)",
};

export class TransactionForm {
  #inputs = new Map();
  #faults = new Map();
  #components;
  #filled = h("span", { class: "muted" });

  /** @param {{currency: string, onSubmit: function()}} options */
  constructor({ currency, onSubmit }) {
    const field = (name, label) => this.#field(name, label);
    this.#components = h("details", {},
      h("summary", {}, "Components V1 to V28 ", this.#filled),
      h("div", { class: "components" }, COMPONENTS.map((name) => field(name, name))));
    this.button = h("button", { class: "primary", type: "submit" }, "Score");
    this.element = h("form", { novalidate: true, class: "transaction", "aria-label": "Transaction" },
      h("div", { class: "pair" }, field("Amount", `Amount, in ${currency}`), field("Time", LABELS.Time)),
      this.#components,
      h("div", { class: "pair" }, NAMING_FIELDS.map((name) => field(name, LABELS[name]))),
      h("div", { class: "row" }, this.button,
        h("button", { type: "button", class: "quiet", onclick: () => this.set({}) }, "Clear")));
    this.element.addEventListener("submit", (event) => {
      event.preventDefault();
      onSubmit();
    });
    this.element.addEventListener("input", () => this.#count());
    this.#count();
  }

  /** Fields as they will be sent: numbers where they are numbers, else what was typed, for the API to judge. */
  read() {
    const body = {};
    for (const [name, input] of this.#inputs) {
      const text = input.value.trim();
      if (text) {
        body[name] = RAW_FIELDS.includes(name) && Number.isFinite(Number(text)) ? Number(text) : text;
      }
    }
    return body;
  }

  /** Fills the form; fields that are not named become empty. */
  set(values) {
    for (const [name, input] of this.#inputs) {
      input.value = values[name] ?? "";
    }
    this.show([]);
    this.#count();
  }

  /**
   * Puts the API's faults beside their fields and goes to the first.
   * @param {{field?: string, message: string}[]} errors
   * @returns {string[]} messages of faults that no field has
   */
  show(errors) {
    const rest = [];
    for (const [name, input] of this.#inputs) {
      input.removeAttribute("aria-invalid");
      fill(this.#faults.get(name));
    }
    for (const { field, message } of errors) {
      const input = this.#inputs.get(field);
      if (input) {
        input.setAttribute("aria-invalid", "true");
        fill(this.#faults.get(field), message);
      } else {
        rest.push(field ? `${field}: ${message}` : message);
      }
    }
    const bad = [...this.#inputs].filter(([, input]) => input.hasAttribute("aria-invalid"));
    if (bad.some(([name]) => COMPONENTS.includes(name))) {
      this.#components.open = true;
    }
    this.element.querySelector("[aria-invalid]")?.focus();
    return rest;
  }

  #field(name, label) {
    const id = `field-${name}`;
    const input = h("input", { id, name, autocomplete: "off", spellcheck: "false", "aria-describedby": `${id}-fault`,
      placeholder: name === "event_time" ? "2026-01-31T12:00:00Z" : null,
      inputmode: RAW_FIELDS.includes(name) ? "decimal" : null });
    const fault = h("span", { id: `${id}-fault`, class: "fault" });
    this.#inputs.set(name, input);
    this.#faults.set(name, fault);
    return h("div", { class: "field" }, h("label", { for: id }, label), input, fault);
  }

  #count() {
    const filled = COMPONENTS.filter((name) => this.#inputs.get(name).value.trim()).length;
    fill(this.#filled, `${filled} of ${COMPONENTS.length} filled`);
  }
}
