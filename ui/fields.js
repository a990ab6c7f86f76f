// What a transaction consists of, as GET /features says: no module of the page knows a field by its name.

const NUMBERS = ["number", "integer"];
const FLAT = 12;
const TELLING = 6;

/** The fields of one contract, as a version of the model takes them. */
export class Catalogue {
  #byName;
  #features;

  /** @param {Object} answer of GET /features */
  constructor(answer) {
    this.version = answer.model_version;
    this.digest = answer.contract.digest;
    this.label = answer.label;
    /** What the label says of a fraud, in words of the contract. */
    this.positive = answer.label_positive ?? [];
    this.#features = answer.features ?? {};
    /** All that a client may send, in the contract's order. */
    this.fields = answer.fields;
    this.groups = answer.groups;
    this.#byName = new Map(this.fields.map((field) => [field.name, field]));
    this.telling = answer.telling.map((name) => this.field(name));
  }

  /** A field by its name; undefined for what is none. */
  field(name) {
    return this.#byName.get(name);
  }

  /** {low, high, share} of the training rows; undefined where it is not known. */
  usual(feature) {
    return this.#features[feature]?.usual_range ?? undefined;
  }

  /** The field with a role; undefined where the contract has none. */
  withRole(role) {
    return this.fields.find((field) => field.role === role);
  }

  /** Those that the model sees. */
  get scored() {
    return this.fields.filter((field) => field.scored);
  }

  /** Those that only name a transaction or its moment. */
  get naming() {
    return this.fields.filter((field) => !field.scored);
  }

  /** Whether all fields can be looked at together. */
  get few() {
    return this.scored.length <= FLAT;
  }

  /**
   * The fields in the order in which people want them: first what has a role and what moves the score most, then the
   * rest in groups.
   * @returns {{first: Object[], groups: {name: string, fields: Object[]}[]}}
   */
  get arranged() {
    if (this.few) {
      return { first: this.scored, groups: [] };
    }
    const first = [...new Set([...this.scored.filter((field) => field.role), ...this.telling.slice(0, TELLING)])];
    const shown = new Set(first);
    const groups = this.groups.map(({ name, fields }) => ({ name, fields: fields.map((each) => this.field(each)) }));
    const grouped = new Set(groups.flatMap(({ fields }) => fields));
    const rest = this.scored.filter((field) => !grouped.has(field));
    const all = [{ name: "Other fields", fields: rest }, ...groups];
    return { first, groups: all.map(({ name, fields }) => ({ name, fields: fields.filter((field) => !shown.has(field)) }))
      .filter(({ fields }) => fields.length > 0) };
  }

  /** Names of fields in words, runs of numbered ones as one. */
  inWords(fields, most = 12) {
    const wanted = new Set(fields.map(({ name }) => name));
    const runs = this.groups.filter((group) => group.fields.every((name) => wanted.has(name)));
    const inRun = new Map(runs.flatMap((run) => run.fields.map((name) => [name, run.name])));
    const words = [...new Set(fields.map(({ name }) => inRun.get(name) ?? name))];
    const more = words.length - most;
    return more > 1 ? `${words.slice(0, most).join(", ")} and ${more} more` : listed(words);
  }
}

function listed(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/** Whether a field's values are written with digits. */
export function isNumber({ type }) {
  return NUMBERS.includes(type);
}

/** What was typed into a field, as it is sent: of its own type where it can be, else as it is, for the API to judge. */
export function typed(field, text) {
  if (isNumber(field) && Number.isFinite(Number(text))) {
    return Number(text);
  }
  return field.type === "boolean" && ["true", "false"].includes(text) ? text === "true" : text;
}

/** Reads the catalogue, once per version of the model. */
export class Fields {
  #api;
  #status;
  #known = null;

  /** @param {{api: Object, status: Object}} context */
  constructor({ api, status }) {
    this.#api = api;
    this.#status = status;
  }

  /**
   * The catalogue of the live version; throws an ApiError where it cannot be read.
   * @param {Object} options `quiet`: do not ask the user for a key
   */
  async read(options = {}) {
    if (this.#known === null || this.#known.version !== this.#status.current.version) {
      this.#known = new Catalogue(await this.#api.get("features", options));
    }
    return this.#known;
  }
}
