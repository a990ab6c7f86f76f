// How far a file is: sent, scored, how fast, and the way to stop it.
import { fill, h } from "../../dom.js";
import { bytes, duration, integer } from "../../format.js";

export class Progress {
  #started = performance.now();
  #bar = h("progress", { max: 1, value: 0, "aria-label": "Upload" });
  #words = h("p", { class: "number-words" });
  #cancel;
  #file;
  #drawn = 0;

  /** @param {File} file @param {function()} onCancel */
  constructor(file, onCancel) {
    this.#file = file;
    this.#cancel = h("button", { type: "button", onclick: onCancel }, "Cancel");
    this.element = h("section", { class: "panel", "aria-label": "Progress" },
      h("div", { class: "row apart" }, h("h2", {}, file.name), this.#cancel), this.#bar, this.#words);
  }

  /** Seconds since it began. */
  get seconds() {
    return (performance.now() - this.#started) / 1000;
  }

  /** Shows where it is, at most some times a second. */
  show(sent, rows) {
    if (performance.now() - this.#drawn < 100) {
      return;
    }
    this.#drawn = performance.now();
    if (sent < this.#file.size) {
      this.#bar.value = sent / this.#file.size;
    } else {
      this.#bar.removeAttribute("value"); // how many rows are to come, nobody says
    }
    const speed = this.seconds > 0 ? rows / this.seconds : 0;
    fill(this.#words, `${bytes(sent)} of ${bytes(this.#file.size)} sent · ${integer(rows)} rows scored`,
      rows > 0 && ` · ${integer(speed)} rows per second`);
  }

  /** Says how it ended; there is nothing to cancel then. */
  end(rows, how) {
    const seconds = this.seconds;
    this.#bar.hidden = true;
    this.#cancel.hidden = true;
    fill(this.#words, how ?? `${integer(rows)} rows in ${duration(seconds)} · ${integer(rows / seconds)} rows per second`);
  }
}
