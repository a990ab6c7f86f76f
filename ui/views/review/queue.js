// What waits for a reviewer, in pages. Where the riskiest come first, the random sample would come last: it is mixed in.

const PAGE = 50;
const EVERY = 5;
const CASE = 100;

/** The query of a page of the queue. */
export function query(order, after, only = {}) {
  const wanted = new URLSearchParams({ order, for_review: "true", labelled: "false", limit: String(PAGE), ...only });
  if (after) {
    wanted.set("after", after);
  }
  return `predictions?${wanted}`;
}

/** Whether a prediction is there by chance, and not because it raised an alert. */
export function sampled(item) {
  return item.decision === "APPROVE";
}

/** Every few of `items` one of `others`, each prediction once; what of the others is left over comes last if `rest`. */
export function mixed(items, others, known, rest) {
  const found = [];
  const add = (item) => {
    if (item && !known.has(item.prediction_id)) {
      known.add(item.prediction_id);
      found.push(item);
    }
  };
  items.forEach((item, place) => {
    add(item);
    if (place % EVERY === EVERY - 1) {
      add(others.shift());
    }
  });
  while (rest && others.length > 0) {
    add(others.shift());
  }
  return found;
}

/** Pages of one order under some filters, until there are no more. */
export class Queue {
  #api;
  #signal;
  #filters;
  #known = new Set();
  #others = null;
  #after = null;

  /** @param {Object} filters as GET /predictions takes them, without those that are not set */
  constructor(api, order, filters, signal) {
    this.#api = api;
    this.#signal = signal;
    this.#filters = filters;
    this.order = order;
    this.begun = new Date().toISOString();
    this.items = [];
    this.more = true;
  }

  /** Adds the next page. */
  async load() {
    const options = { signal: this.#signal };
    const mixing = this.order !== "newest" && !this.#filters.decision;
    if (mixing && this.#others === null) {
      this.#others = (await this.#api.get(query("newest", null, { ...this.#filters, decision: "APPROVE" }), options)).items;
    }
    const page = await this.#api.get(query(this.order, this.#after, this.#filters), options);
    this.#after = page.next;
    this.more = page.next !== null;
    this.items.push(...mixed(page.items, this.#others || [], this.#known, !this.more));
  }

  /** True totals under the same filters, and what came since the queue was loaded. */
  totals() {
    const today = new Date();
    today.setHours(0, 0, 0, 0);
    const wanted = new URLSearchParams({ ...this.#filters, today: today.toISOString(), arrived_after: this.begun });
    return this.#api.get(`queue?${wanted}`, { signal: this.#signal, quiet: true });
  }

  /** All open alerts of one card or customer, which are added to the queue where they are not in it. */
  async caseOf(entity) {
    const wanted = query("newest", null, { entity, limit: String(CASE) });
    const { items } = await this.#api.get(wanted, { signal: this.#signal, quiet: true });
    return items.map((item) => {
      const known = this.items.find(({ prediction_id: id }) => id === item.prediction_id);
      if (!known && !this.#known.has(item.prediction_id)) {
        this.#known.add(item.prediction_id);
        this.items.push(item);
      }
      return known ?? item;
    });
  }
}
