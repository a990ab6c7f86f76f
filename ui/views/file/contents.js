// CSV: the gateway's answer as it arrives, what a file itself says that the answer does not repeat, and rows to keep.
import { h } from "../../dom.js";

/**
 * What a CSV file itself says: labels, and the values of rows that could not be scored. Reads it once more, line by line.
 * @param {File} file
 * @param {{label: string, positive: string[], bad: Set<number>}} wanted the label's column and what it says of a fraud; lines
 *   to keep the cells of
 * @returns {Promise<{frauds: Set<number>|null, labelled: Set<number>|null, cells: Map<number, Object<string, string>>}>}
 *   lines by number, the header being line 1; frauds is null where the file has no label
 */
export async function contentsOf(file, { label, positive, bad }) {
  const words = new Set(positive.map((word) => word.toLowerCase()));
  const cells = new Map();
  const [frauds, labelled] = [new Set(), new Set()];
  let header = null;
  let place = -1;
  await eachLine(file, (line, number) => {
    if (header === null) {
      header = cellsOf(line).map((name) => name.trim());
      place = header.indexOf(label);
      return place >= 0 || bad.size > 0;
    }
    if (place < 0 && !bad.has(number)) {
      return true;
    }
    let row;
    try {
      row = cellsOf(line);
    } catch {
      return true; // the answer says what is wrong with it
    }
    if (bad.has(number)) {
      cells.set(number, Object.fromEntries(header.map((name, at) => [name, row[at] ?? ""])));
    }
    const said = row[place]?.trim().toLowerCase();
    if (said) {
      labelled.add(number);
      if (words.has(said)) {
        frauds.add(number);
      }
    }
    return true;
  });
  return place < 0 ? { frauds: null, labelled: null, cells } : { frauds, labelled, cells };
}

/** An error of a row, with the value that it is about in quotes. */
export function quoted(message, cells) {
  return message.split("; ").map((part) => {
    const field = part.split(": ", 1)[0];
    const value = cells?.[field];
    return value === undefined ? part : `${part} (“${value.length > 40 ? `${value.slice(0, 40)}…` : value}”)`;
  }).join("; ");
}

async function eachLine(file, told) {
  const reader = file.stream().pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let number = 1;
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    const lines = (rest + read.value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!told(line.replace(/\r$/, ""), number)) {
        await reader.cancel();
        return;
      }
      number += 1;
    }
  }
  if (rest) {
    told(rest, number);
  }
}

/** Cells of a line; quoted ones may hold commas and doubled quotes. */
export function cellsOf(line) {
  if (!line.includes('"')) {
    return line.split(",");
  }
  const cells = [];
  let place = 0;
  while (place <= line.length) {
    if (line[place] !== '"') {
      const end = line.indexOf(",", place);
      cells.push(line.slice(place, end === -1 ? undefined : end));
      place = end === -1 ? line.length + 1 : end + 1;
      continue;
    }
    let end = line.indexOf('"', place + 1);
    while (line[end + 1] === '"') {
      end = line.indexOf('"', end + 2);
    }
    if (end === -1) {
      throw new Error("The answer is cut off within a cell.");
    }
    const cell = line.slice(place + 1, end);
    cells.push(cell.includes('""') ? cell.replaceAll('""', '"') : cell);
    place = end + 2;
  }
  return cells;
}

/** Reads the gateway's CSV answer as it arrives, piece by piece (RFC 4180; what it writes has no line breaks in cells). */
export class CsvReader {
  #rest = "";
  #header = null;
  #told;

  /** @param {function(string[], string[])} told is given every row's cells and the header */
  constructor(told) {
    this.#told = told;
  }

  /** Takes the next piece of text. */
  feed(text) {
    const all = this.#rest + text;
    let start = 0;
    for (let end = all.indexOf("\n"); end !== -1; end = all.indexOf("\n", start)) {
      this.#line(all.slice(start, all[end - 1] === "\r" ? end - 1 : end));
      start = end + 1;
    }
    this.#rest = all.slice(start);
  }

  /** Says that nothing follows; throws where a line has begun that did not end. */
  end() {
    if (this.#rest) {
      throw new Error("The answer is cut off.");
    }
  }

  #line(line) {
    const cells = cellsOf(line);
    if (this.#header === null) {
      this.#header = cells;
    } else {
      this.#told(cells, this.#header);
    }
  }
}

/**
 * Saves rows as a CSV file.
 * @param {string} name of the file
 * @param {Iterable<Array>} rows the header first
 */
export function download(name, rows) {
  const parts = [];
  for (const row of rows) {
    parts.push(`${row.map(cell).join(",")}\n`);
  }
  const address = URL.createObjectURL(new Blob(parts, { type: "text/csv" }));
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

function cell(value) {
  const text = String(value);
  if (typeof value === "number") {
    return text;
  }
  // a spreadsheet would run what begins like a formula
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
