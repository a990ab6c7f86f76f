// The API key of this tab: typed once, kept in sessionStorage, asked for where the gateway wants one or another.
import { h } from "./dom.js";

const PLACE = "fraud.key";
const CHANGED = "fraud:key";
let asking = null;

/** The key, or null. */
export function currentKey() {
  return sessionStorage.getItem(PLACE);
}

/** Calls a function whenever this tab has another key, or none any more; gives back what ends that. */
export function onKeyChange(told) {
  window.addEventListener(CHANGED, told);
  return () => window.removeEventListener(CHANGED, told);
}

/**
 * Asks for a key. Whoever asks while the question is open gets its answer too.
 * @param {string} why what is missing, in words
 * @returns {Promise<boolean>} whether a key was given
 */
export function askForKey(why) {
  asking ??= question(why).finally(() => {
    asking = null;
  });
  return asking;
}

function question(why) {
  return new Promise((resolve) => {
    const input = h("input", {
      id: "key-input", type: "password", autocomplete: "off", spellcheck: "false", "aria-describedby": "key-why",
    });
    const form = h("form", { method: "dialog" },
      h("h2", { id: "key-title" }, "API key"),
      h("p", { id: "key-why", class: "muted" }, why),
      h("div", { class: "field" }, h("label", { for: "key-input" }, "Key, kept until this tab is closed"), input),
      h("div", { class: "row" },
        h("button", { class: "primary", value: "use" }, "Use this key"),
        currentKey() && h("button", { value: "forget", type: "submit" }, "Forget the key"),
        h("button", { type: "button", onclick: () => dialog.close("cancel") }, "Cancel")));
    const dialog = h("dialog", { "aria-labelledby": "key-title" }, form);
    dialog.addEventListener("close", () => {
      dialog.remove();
      const key = input.value.trim();
      if (dialog.returnValue === "forget") {
        sessionStorage.removeItem(PLACE);
        window.dispatchEvent(new Event(CHANGED));
      } else if (dialog.returnValue === "use" && key) {
        sessionStorage.setItem(PLACE, key);
        resolve(true);
        window.dispatchEvent(new Event(CHANGED));
        return;
      }
      resolve(false);
    });
    document.body.append(dialog);
    dialog.showModal();
    input.focus();
  });
}
