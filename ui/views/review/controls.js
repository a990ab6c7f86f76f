// Buttons of the review queue, each with its key. Keys can be switched off, and are none while somebody types.
import { fill, h } from "../../dom.js";

const KEYS_OFF = "fraud.review.keys-off";

/** @param {{label: function(string), undo: function, move: function(number), order: function(string), reload: function}} act */
export function controlsOf({ label, undo, move, order, reload }) {
  const keys = h("input", { type: "checkbox", id: "review-keys", checked: localStorage.getItem(KEYS_OFF) === null });
  keys.addEventListener("change", () =>
    keys.checked ? localStorage.removeItem(KEYS_OFF) : localStorage.setItem(KEYS_OFF, "1"));
  const choice = h("select", { id: "review-order", onchange: () => order(choice.value) },
    h("option", { value: "newest" }, "Newest first"), h("option", { value: "riskiest" }, "Riskiest first"));
  const button = (key, text, act, kind) =>
    h("button", { type: "button", class: kind, "aria-keyshortcuts": key, onclick: act }, text, h("kbd", {}, key));
  const buttons = {
    f: button("f", "Fraud", () => label("fraud"), "fraud"),
    l: button("l", "Legitimate", () => label("legitimate"), "legitimate"),
    u: button("u", "Undo", undo),
    p: button("p", "Previous", () => move(-1), "quiet"),
    n: button("n", "Next", () => move(1), "quiet"),
  };
  const state = h("span", { class: "muted small", role: "status" });

  return {
    top: h("div", { class: "row apart" },
      h("div", { class: "row" },
        h("label", { for: "review-order" }, "Order"), choice,
        h("button", { type: "button", onclick: reload }, "Reload")),
      h("label", { class: "row small", for: "review-keys" }, keys, "One-key shortcuts")),
    labels: h("div", { class: "row labels" }, Object.values(buttons), state),

    update({ item, latest, done }) {
      buttons.f.disabled = buttons.l.disabled = !item;
      buttons.u.disabled = !latest;
      fill(state, latest ? `“${latest.label}” can be undone for some seconds.` : done ? `Labelled ${done}.` : "");
    },

    pressed(event) {
      const busy = event.ctrlKey || event.metaKey || event.altKey || event.repeat
        || event.target.closest?.("input:not([type=checkbox]), select, textarea, dialog");
      const pressed = buttons[event.key.toLowerCase()];
      if (!busy && keys.checked && pressed && !pressed.disabled) {
        event.preventDefault();
        pressed.click();
      }
    },
  };
}
