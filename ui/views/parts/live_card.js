// The live version's card, as far as scoring needs it: two sample transactions and the decline threshold.

/** Fetched once per version. */
export class LiveCard {
  #card = null;

  /** @param {{api: Object, status: Object}} context */
  constructor({ api, status }) {
    this.#ask = (options) => api.get("model", options);
    this.end = status.subscribe(({ version }) => {
      if (version && version !== this.#card?.model_version) {
        this.look();
      }
    });
  }

  #ask;

  /** Fetches it without bothering anybody about keys. */
  async look() {
    try {
      this.#card = await this.#ask({ quiet: true });
    } catch {
      this.#card = null; // no key yet, no card, or the gateway is unreachable: asked again when it is needed
    }
  }

  /** From which score on a version declines; null where it is not known. */
  declineOf(version) {
    return this.#card?.model_version === version ? this.#card.decline_threshold : null;
  }

  /** A sample transaction; throws an ApiError where there is none. */
  async sample(fraud) {
    this.#card ??= await this.#ask({});
    const found = this.#card.card.samples.find((sample) => sample.fraud === fraud);
    if (!found) {
      throw new Error("The live version's card has no such sample.");
    }
    return found.transaction;
  }
}
