// Labels on their way: each waits some seconds in which it can be taken back, and is sent at once when the page is left.
import { headers } from "../../api.js";

const SECONDS = 8;

/** Keeps the labels of this visit, and sends them to POST /feedback. */
export class Labels {
  #api;
  #changed;
  #waiting = [];

  /**
   * @param {Object} api
   * @param {function} changed called with (label, error) when one was sent, or could not be
   */
  constructor(api, changed) {
    this.#api = api;
    this.#changed = changed;
    this.sent = 0;
  }

  /** The latest that can be taken back; undefined where there is none. */
  get latest() {
    return this.#waiting.at(-1);
  }

  /** How many there are, sent or not. */
  get count() {
    return this.sent + this.#waiting.length;
  }

  add(item, label) {
    const entry = { item, label };
    entry.timer = setTimeout(() => this.#send(entry), SECONDS * 1000);
    this.#waiting.push(entry);
    return entry;
  }

  /** Takes the latest back. */
  undo() {
    const entry = this.#waiting.pop();
    clearTimeout(entry?.timer);
    return entry;
  }

  /** Sends what waits, so that it arrives even if the page is closed. */
  flush() {
    const entries = this.#waiting.splice(0);
    entries.forEach(({ timer }) => clearTimeout(timer));
    if (entries.length > 0) {
      const body = JSON.stringify(entries.map(({ item, label }) => ({ prediction_id: item.prediction_id, label })));
      fetch("feedback", { method: "POST", body, keepalive: true, headers: headers({ "Content-Type": "application/json" }) })
        .catch(() => {}); // nobody is there to tell
    }
  }

  async #send(entry) {
    this.#waiting = this.#waiting.filter((each) => each !== entry);
    try {
      await this.#api.post("feedback", { prediction_id: entry.item.prediction_id, label: entry.label });
      this.sent += 1;
      this.#changed(entry, null);
    } catch (error) {
      this.#changed(entry, error);
    }
  }
}
