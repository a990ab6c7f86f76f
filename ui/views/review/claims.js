// What this window has open: others see it, and are given something else.
import { headers } from "../../api.js";

const SECONDS = 120;

/** Claims on predictions; without the scope for them, or without the gateway, there are none. */
export class Claims {
  #api;
  #session = `w${crypto.getRandomValues(new Uint32Array(2)).join("-")}`;

  constructor(api) {
    this.#api = api;
    /** Ids of predictions that are claimed here. */
    this.mine = new Set();
  }

  /** Whether another reviewer or window has an item open. */
  elsewhere(item) {
    return Boolean(item.claim) && !this.mine.has(item.prediction_id) && Date.parse(item.claim.until) > Date.now();
  }

  /** Claims an item in the place of the one before; whether another has it. */
  async take(item) {
    const id = item.prediction_id;
    this.release([...this.mine].filter((each) => each !== id));
    const [outcome] = await this.#ask([id], SECONDS);
    if (outcome?.outcome === "taken") {
      item.claim = { reviewer: outcome.reviewer, until: outcome.until };
      return true;
    }
    if (outcome?.outcome === "claimed") {
      this.mine.add(id);
      item.claim = null;
    }
    return false;
  }

  /** Holds what is claimed for longer. */
  renew() {
    if (this.mine.size > 0) {
      this.#ask([...this.mine], SECONDS);
    }
  }

  /** Gives claims back: these, or all. */
  release(ids = [...this.mine]) {
    if (ids.length > 0) {
      ids.forEach((id) => this.mine.delete(id));
      this.#ask(ids, 0);
    }
  }

  /** Gives all back while the page is closed. */
  leave() {
    if (this.mine.size > 0) {
      fetch("claims", { method: "POST", keepalive: true, headers: headers({ "Content-Type": "application/json" }),
        body: JSON.stringify(this.#body([...this.mine], 0)) }).catch(() => {}); // it runs out by itself
    }
  }

  #body(ids, seconds) {
    return { prediction_ids: ids, session: this.#session, seconds };
  }

  #ask(ids, seconds) {
    return this.#api.post("claims", this.#body(ids, seconds), { quiet: true }).catch(() => []);
  }
}
