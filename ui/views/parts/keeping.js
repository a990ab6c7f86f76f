// What becomes of what is scored here: kept as a trial, as real traffic, or not at all.
import { h } from "../../dom.js";

const CHOICES = {
  trial: ["Keep as a trial", "trial=true"],
  none: ["Do not keep", "keep=false"],
  live: ["Keep as live traffic", ""],
};
const WORDS = {
  trial: "Kept apart: it enters no review queue, no chart of live traffic and no retraining.",
  none: "Only the answer is shown; nothing can be looked up later.",
  live: "It counts like any other decision: in review, live traffic and retraining.",
};

/**
 * A choice, and what it means.
 * @param {string} name of the view, for ids
 * @param {string} first what is chosen at first
 * @returns {{element: HTMLElement, query: function(string): string}} query: with the choice added
 */
export function keepingOf(name, first) {
  const words = h("span", { class: "muted small", id: `${name}-keeping-words` }, WORDS[first]);
  const select = h("select", { id: `${name}-keeping`, "aria-describedby": words.id, onchange: () => {
    words.textContent = WORDS[select.value];
  } }, Object.entries(CHOICES).map(([value, [title]]) => h("option", { value, selected: value === first }, title)));
  return {
    element: h("div", { class: "field" }, h("label", { for: select.id }, "Keep this result?"), select, words),
    query: (others) => [others, CHOICES[select.value][1]].filter(Boolean).join("&"),
  };
}
