// What a CSV file itself says, which the answer does not repeat: labels, and the values of rows that could not be scored.
import { cellsOf } from "./csv.js";

/**
 * Reads a CSV once more, line by line.
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
