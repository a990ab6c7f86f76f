// Text to take along: shown as it is, with a button that copies it.
import { h } from "../../dom.js";

/**
 * @param {string} text
 * @param {string} name what it is, for the button and for screen readers
 * @param {function(string)} announce
 */
export function copyable(text, name, announce) {
  const code = h("pre", { class: "copy-text", tabindex: "0", role: "region", "aria-label": name }, text);
  const button = h("button", { type: "button", class: "copy-button", "aria-label": `Copy ${name}` }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
      announce(`${name} copied`);
    } catch { // plain HTTP on another machine has no clipboard
      getSelection().selectAllChildren(code);
      announce(`${name} selected; copy it with the keyboard`);
    }
  });
  return h("div", { class: "copy" }, code, button);
}
