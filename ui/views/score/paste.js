// Reads one transaction out of pasted text: a JSON object, or a CSV row with or without its header.
import { cellsOf } from "../file/contents.js";

/**
 * @param {string} text
 * @param {import("../../fields.js").Catalogue} catalogue
 * @returns {{values: Object<string, string>, ignored: string[]}} fields as text; names that no field has
 * @throws {Error} in words, when it is neither
 */
export function readPasted(text, catalogue) {
  const trimmed = text.trim();
  if (!trimmed) {
    throw new Error("There is nothing to read: paste a JSON object or a CSV row.");
  }
  const pairs = /^[{[]/.test(trimmed) ? fromJson(trimmed) : fromCsv(trimmed, catalogue);
  const used = pairs.filter(([name, value]) => catalogue.field(name) && value !== null && value !== undefined);
  return {
    values: Object.fromEntries(used.map(([name, value]) => [name, String(value)])),
    ignored: pairs.map(([name]) => name).filter((name) => !catalogue.field(name)),
  };
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

function fromCsv(text, catalogue) {
  const [first, second] = text.split(/\r?\n/).map(cells);
  const names = catalogue.scored.map(({ name }) => name);
  if (first.some((cell) => names.includes(cell))) {
    if (!second) {
      throw new Error("This is a header without a row below it.");
    }
    return first.map((name, place) => [name, second[place]]);
  }
  // a training table's own rows end with the label, which is no field
  if (first.length !== names.length && first.length !== names.length + 1) {
    throw new Error(
      `A row without a header has ${names.length} cells (${catalogue.inWords(catalogue.scored)}), not ${first.length}.`);
  }
  return names.map((name, place) => [name, first[place]]);
}

function cells(line) {
  return (line.includes("\t") ? line.split("\t") : cellsOf(line)).map((cell) => cell.trim().replace(/^"(.*)"$/, "$1"));
}
