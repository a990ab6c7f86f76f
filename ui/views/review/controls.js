// What the review queue is asked for, and its buttons, each with its key. Keys can be switched off, and are none while
// somebody types.
import { fill, h, s } from "../../dom.js";

/** Where a phone has no room for words: paths in a square of 20. */
const ICONS = {
  s: "M3 5l6 5-6 5zM10 5l6 5-6 5zM17 5v10",
  u: "M7 4L3 8l4 4M3 8h9a5 5 0 0 1 0 9H8",
  p: "M12 5l-5 5 5 5",
  n: "M8 5l5 5-5 5",
  more: "M4 10h.01M10 10h.01M16 10h.01",
};
const KEYS_OFF = "fraud.review.keys-off";
const AGES = { "": "any", 1: "last hour", 24: "last 24 hours", 168: "last 7 days" };

/**
 * @param {{label: function(string, boolean), undo: function, move: function(number), skip: function,
 *   reload: function}} act
 */
export function controlsOf({ label, undo, move, skip, reload }) {
  const keys = h("input", { type: "checkbox", id: "review-keys", checked: localStorage.getItem(KEYS_OFF) === null });
  keys.addEventListener("change", () =>
    keys.checked ? localStorage.removeItem(KEYS_OFF) : localStorage.setItem(KEYS_OFF, "1"));
  const select = (id, options) => h("select", { id, onchange: reload },
    Object.entries(options).map(([value, name]) => h("option", { value }, name)));
  const input = (id, more = {}) => h("input", { id, autocomplete: "off", spellcheck: "false", onchange: reload, ...more });
  const order = select("review-order", { expected_loss: "Expected loss", riskiest: "Riskiest first", newest: "Newest first" });
  const decision = select("review-decision", { "": "all", REVIEW: "review", DECLINE: "decline", APPROVE: "random sample" });
  const received = h("select", { id: "review-age", onchange: reload },
    ["", "1", "24", "168"].map((value) => h("option", { value }, AGES[value])));
  const source = select("review-source", { "": "all", single: "single", batch: "batch" });
  const [least, most] = [input("review-least", { inputmode: "decimal" }), input("review-most", { inputmode: "decimal" })];
  const key = input("review-key");
  const field = (control, name) => h("div", { class: "field" }, h("label", { for: control.id }, name), control);
  const filtered = h("span", { class: "muted" });
  const filters = h("details", { class: "filtering" }, h("summary", {}, "Filters ", filtered),
    h("div", { class: "filters", role: "group", "aria-label": "Filters" },
      field(decision, "Decision"), field(least, "Amount from"), field(most, "Amount below"), field(received, "Received"),
      field(source, "Source"), field(key, "API key’s name")));
  const button = (name, text, act, kind) =>
    h("button", { type: "button", class: `${kind} of-${name}`, "aria-keyshortcuts": name, onclick: act },
      icon(name), h("span", { class: "word" }, text), h("kbd", {}, name));
  const buttons = {
    f: button("f", "Fraud", () => label("fraud", false), "fraud"),
    l: button("l", "Legitimate", () => label("legitimate", false), "legitimate"),
    s: button("s", "Skip", skip, "quiet"),
    u: button("u", "Undo", undo, "quiet"),
    p: button("p", "Previous", () => move(-1), "quiet"),
    n: button("n", "Next", () => move(1), "quiet"),
  };
  const note = h("input", { id: "review-note", maxlength: 500, autocomplete: "off", placeholder: "Note (optional), sent with the label",
    "aria-label": "Note" });
  const state = h("span", { class: "muted small state", role: "status" });
  const more = h("button", { type: "button", class: "quiet more", "aria-expanded": "false", onclick: () =>
    more.setAttribute("aria-expanded", String(labels.toggleAttribute("data-more"))) },
    icon("more"), h("span", { class: "word" }, "More actions"));
  const { f, l, s: skipping, u, p, n } = buttons;
  const labels = h("div", { class: "labels" }, h("div", { class: "row buttons" }, f, l, skipping, u, more, p, n),
    h("div", { class: "row noting" }, note, state));

  return {
    top: h("div", { class: "row review-top" },
      h("label", { for: "review-order" }, "Order"), order,
      h("button", { type: "button", onclick: reload }, "Reload"), filters,
      h("label", { class: "row small keys", for: "review-keys" }, keys, "One-key shortcuts")),
    labels,

    /** The order, and the filters as GET /predictions takes them. */
    wanted() {
      const number = (control) => (Number.isFinite(Number.parseFloat(control.value)) ? Number.parseFloat(control.value) : "");
      const all = {
        decision: decision.value, source: source.value, key_name: key.value.trim(),
        amount_from: number(least), amount_below: number(most),
        since: received.value && new Date(Date.now() - Number(received.value) * 3_600_000).toISOString(),
      };
      const set = Object.entries(all).filter(([, value]) => value !== "");
      fill(filtered, set.length > 0 ? `${set.length} set` : "");
      return { order: order.value, filters: Object.fromEntries(set) };
    },

    /** The note that was typed, which is empty afterwards. */
    takeNote() {
      const text = note.value.trim();
      note.value = "";
      return text;
    },

    update({ item, latest, said }) {
      buttons.f.disabled = buttons.l.disabled = buttons.s.disabled = note.disabled = !item;
      buttons.u.disabled = !latest;
      fill(state, latest ? `“${latest.label}” can be undone for some seconds.`
        : said ? (said.state === "saved" ? `Saved as ${said.label}.` : `Labelled ${said.label}, ${said.state}.`) : "");
    },

    pressed(event) {
      const busy = event.ctrlKey || event.metaKey || event.altKey || event.repeat
        || event.target.closest?.("input:not([type=checkbox]), select, textarea, dialog");
      const name = event.key.toLowerCase();
      if (busy || !keys.checked) {
        return;
      }
      if (event.shiftKey && ["f", "l"].includes(name)) {
        event.preventDefault();
        label(name === "f" ? "fraud" : "legitimate", true);
      } else if (buttons[name] && !buttons[name].disabled && !event.shiftKey) {
        event.preventDefault();
        buttons[name].click();
      }
    },
  };
}

function icon(name) {
  return ICONS[name] && s("svg", { class: "icon", viewBox: "0 0 20 20", "aria-hidden": "true" }, s("path", { d: ICONS[name] }));
}
