// What a view says when a call failed.
import { h } from "../../dom.js";

/**
 * An error in words: cause and remedy, and the request id that the log has it under.
 * @param {Error} error
 */
export function errorNotice(error) {
  return notice("error", error.message, error.requestId && h("span", { class: "muted small" }, ` (${error.requestId})`));
}

/** A notice of a kind: "error", "warning" or "info". */
export function notice(kind, ...children) {
  return h("p", { class: "notice", "data-kind": kind, role: kind === "error" ? "alert" : "status" }, ...children);
}
