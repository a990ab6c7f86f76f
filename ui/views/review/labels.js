// Labels on their way: each waits some seconds in which it can be taken back. What could not be sent is kept as not
// saved and tried again; a label outlives its view, and in sessionStorage also a reload, until the gateway has it.
import { ApiError, headers } from "../../api.js";

const SECONDS = 8;
const RETRY_SECONDS = 15;
const PLACE = "fraud.labels";

/**
 * A label: {item, label, note, name, state, error}. `name` is what people know the transaction by; `state` is "waiting",
 * "saving", "saved" or "not saved". `item` has at least its prediction_id.
 */
export class Labels {
  #api;
  #entries = [];
  #told = () => {};
  #timer = null;
  #refused = false;

  /** @param {Object} api */
  constructor(api) {
    this.#api = api;
    this.saved = 0;
    for (const { prediction_id, label, note, name } of JSON.parse(sessionStorage.getItem(PLACE) || "[]")) {
      this.#entries.push({ item: { prediction_id }, label, note, name, state: "not saved", error: null });
    }
    window.addEventListener("pagehide", () => this.#leave());
  }

  /** Calls a function with an entry, or nothing, after every change; null ends it. */
  listen(told) {
    this.#told = told ?? (() => {});
  }

  /** The latest that can be taken back; undefined where there is none. */
  get latest() {
    return this.#entries.findLast(({ state }) => state === "waiting");
  }

  /** Those that the gateway does not have, and that are not on their way. */
  get notSaved() {
    return this.#entries.filter(({ state }) => state === "not saved");
  }

  /** The label that was given to a prediction and is not with the gateway yet. */
  of(predictionId) {
    return this.#entries.findLast(({ item }) => item.prediction_id === predictionId);
  }

  /** @param {{item: Object, label: string, note: string, name: string}} given */
  add(given) {
    const entry = { ...given, state: "waiting", error: null };
    entry.timer = setTimeout(() => this.#send([entry]), SECONDS * 1000);
    this.#entries.push(entry);
    this.#keep();
    return entry;
  }

  /** Takes the latest back, with those that were given together with it. */
  undo() {
    const last = this.latest;
    const taken = last ? this.#entries.filter((each) => each === last || (last.together && each.together === last.together)) : [];
    taken.forEach(({ timer }) => clearTimeout(timer));
    this.#entries = this.#entries.filter((each) => !taken.includes(each));
    this.#keep();
    return taken;
  }

  /** Sends what waits now. */
  flush() {
    const waiting = this.#entries.filter(({ state }) => state === "waiting");
    waiting.forEach(({ timer }) => clearTimeout(timer));
    return this.#send(waiting);
  }

  /** Sends what is not saved once more; `asking`: a key may be asked for. */
  retry(asking = false) {
    clearTimeout(this.#timer);
    this.#refused &&= !asking;
    return this.#send(this.notSaved, asking);
  }

  async #send(entries, asking = !this.#refused) {
    if (entries.length === 0) {
      return;
    }
    entries.forEach((entry) => { entry.state = "saving"; });
    this.#told();
    try {
      const body = entries.map(({ item, label, note }) => ({ prediction_id: item.prediction_id, label, ...(note && { note }) }));
      const outcomes = await this.#api.post("feedback", body, { quiet: !asking });
      entries.forEach((entry, place) => this.#settle(entry, outcomes[place].outcome));
    } catch (error) {
      this.#refused = error instanceof ApiError && [401, 403].includes(error.status);
      entries.forEach((entry) => Object.assign(entry, { state: "not saved", error }));
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.retry(), RETRY_SECONDS * 1000);
    }
    this.#keep();
    entries.forEach((entry) => this.#told(entry));
  }

  #settle(entry, outcome) {
    if (["added", "unchanged"].includes(outcome)) {
      entry.state = "saved";
      this.saved += 1;
      this.#entries = this.#entries.filter((each) => each !== entry);
    } else {
      entry.state = "not saved";
      entry.error = new Error(outcome === "trial" ? "A trial takes no label." : "The gateway does not know this prediction.");
    }
  }

  #leave() {
    const entries = this.#entries.filter(({ state }) => state !== "saving");
    if (entries.length > 0) {
      const body = JSON.stringify(entries.map(({ item, label, note }) => ({ prediction_id: item.prediction_id, label, ...(note && { note }) })));
      fetch("feedback", { method: "POST", body, keepalive: true, headers: headers({ "Content-Type": "application/json" }) })
        .catch(() => {}); // they are sent again when the page is back: the same label twice changes nothing
    }
  }

  #keep() {
    const rest = this.#entries.map(({ item, label, note, name }) => ({ prediction_id: item.prediction_id, label, note, name }));
    sessionStorage.setItem(PLACE, JSON.stringify(rest));
  }
}
