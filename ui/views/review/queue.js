// What waits for a reviewer, in pages. Where the riskiest come first, the random sample would come last: it is mixed in.

const PAGE = 50;
const EVERY = 5;

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

/** Pages of one order, until there are no more. */
export class Queue {
  #api;
  #signal;
  #known = new Set();
  #others = null;
  #after = null;

  constructor(api, order, signal) {
    this.#api = api;
    this.#signal = signal;
    this.order = order;
    this.items = [];
    this.more = true;
  }

  /** Adds the next page. */
  async load() {
    const options = { signal: this.#signal };
    if (this.order === "riskiest" && this.#others === null) {
      this.#others = (await this.#api.get(query("newest", null, { decision: "APPROVE" }), options)).items;
    }
    const page = await this.#api.get(query(this.order, this.#after), options);
    this.#after = page.next;
    this.more = page.next !== null;
    this.items.push(...mixed(page.items, this.#others || [], this.#known, !this.more));
  }
}
