// The scored rows by columns: typed arrays that grow, so that a hundred thousand rows sort and filter at once.
export const DECISIONS = ["APPROVE", "REVIEW", "DECLINE"];

const FIRST_ROOM = 16384;
const TYPES = { row: Float64Array, score: Float64Array, probability: Float64Array, amount: Float64Array, decision: Uint8Array };

export class Results {
  /** How many rows were scored. */
  count = 0;
  /** Rows that were not: {row, message}. */
  bad = [];
  version = null;
  alert = null;
  spooled = false;
  transactionIds = [];
  predictionIds = [];
  #places = null;

  constructor() {
    for (const [name, Type] of Object.entries(TYPES)) {
      this[name] = new Type(FIRST_ROOM);
    }
  }

  /** Takes a row of the answer. */
  add(cells, header) {
    this.#places ??= Object.fromEntries(header.map((name, place) => [name, place]));
    const cell = (name) => cells[this.#places[name]] ?? "";
    if (cell("error")) {
      this.bad.push({ row: Number(cell("row")), message: cell("error") });
      return;
    }
    if (this.count === this.row.length) {
      this.#grow();
    }
    const place = this.count;
    this.row[place] = Number(cell("row"));
    this.score[place] = Number(cell("hybrid_score"));
    this.probability[place] = Number(cell("fraud_probability"));
    this.amount[place] = Number(cell("amount"));
    this.decision[place] = DECISIONS.indexOf(cell("decision"));
    this.transactionIds.push(cell("transaction_id"));
    this.predictionIds.push(cell("prediction_id"));
    this.version = cell("model_version");
    this.alert = Number(cell("threshold_used"));
    this.spooled ||= cell("kept") === "spool";
    this.count += 1;
  }

  /** Scores of all rows. */
  get scores() {
    return this.score.subarray(0, this.count);
  }

  /** Per decision: rows and the sum of their amounts. */
  summary() {
    const found = DECISIONS.map((decision) => ({ decision, rows: 0, amount: 0 }));
    for (let place = 0; place < this.count; place += 1) {
      const one = found[this.decision[place]];
      one.rows += 1;
      one.amount += this.amount[place];
    }
    return found;
  }

  /**
   * Places of rows that are wanted, in the order that is wanted.
   * @param {{decision: number|null, text: string, least: number|null}} filter
   * @param {{by: string, descending: boolean}} order by a numeric column
   * @returns {Uint32Array}
   */
  select({ decision, text, least }, { by, descending }) {
    const chosen = new Uint32Array(this.count);
    const wanted = text.toLowerCase();
    let length = 0;
    for (let place = 0; place < this.count; place += 1) {
      if ((decision === null || this.decision[place] === decision)
          && (least === null || this.amount[place] >= least)
          && (!wanted || this.#mentions(place, wanted))) {
        chosen[length] = place;
        length += 1;
      }
    }
    const values = this[by];
    const sign = descending ? -1 : 1;
    return chosen.subarray(0, length).sort((a, b) => sign * (values[a] - values[b]) || a - b);
  }

  #mentions(place, wanted) {
    return this.transactionIds[place].toLowerCase().includes(wanted) || this.predictionIds[place].includes(wanted)
      || String(this.row[place]) === wanted;
  }

  #grow() {
    for (const [name, Type] of Object.entries(TYPES)) {
      const larger = new Type(this[name].length * 2);
      larger.set(this[name]);
      this[name] = larger;
    }
  }
}
