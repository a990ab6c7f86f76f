// Reads one transaction out of pasted text: a JSON object, or a CSV row with or without its header.
import { NAMING_FIELDS, RAW_FIELDS } from "../../fields.js";

/**
 * @param {string} text
 * @returns {{values: Object<string, string>, ignored: string[]}} fields as text; names that no field has
 * @throws {Error} in words, when it is neither
 */
export function readPasted(text) {
  const trimmed = text.trim();
  if (!trimmed) {
    throw new Error("There is nothing to read: paste a JSON object or a CSV row.");
  }
  return sorted(/^[{[]/.test(trimmed) ? fromJson(trimmed) : fromCsv(trimmed));
}

function fromJson(text) {
  let read;
  try {
    read = JSON.parse(text);
  } catch (error) {
    throw new Error(`This is not JSON: ${error.message}.`);
  }
  const first = Array.isArray(read) ? read[0] : read;
  if (first === null || typeof first !== "object" || Array.isArray(first)) {
    throw new Error("The JSON holds no object with a transaction's fields.");
  }
  return Object.entries(first);
}

function fromCsv(text) {
  const [first, second] = text.split(/\r?\n/).map(cells);
  if (first.includes("Amount")) {
    if (!second) {
      throw new Error("This is a header without a row below it.");
    }
    return first.map((name, place) => [name, second[place]]);
  }
  // the data set's own rows end with Class, which is no field
  if (first.length !== RAW_FIELDS.length && first.length !== RAW_FIELDS.length + 1) {
    throw new Error(`A row without a header has ${RAW_FIELDS.length} cells (Time, V1 to V28, Amount), not ${first.length}.`);
  }
  return RAW_FIELDS.map((name, place) => [name, first[place]]);
}

function cells(line) {
  return line.split(line.includes("\t") ? "\t" : ",").map((cell) => cell.trim().replace(/^"(.*)"$/, "$1"));
}

function sorted(pairs) {
  const known = new Set([...RAW_FIELDS, ...NAMING_FIELDS]);
  const used = pairs.filter(([name, value]) => known.has(name) && value !== null && value !== undefined);
  return {
    values: Object.fromEntries(used.map(([name, value]) => [name, String(value)])),
    ignored: pairs.map(([name]) => name).filter((name) => !known.has(name)),
  };
}
