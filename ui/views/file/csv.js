// Reads the gateway's CSV answer as it arrives, piece by piece (RFC 4180; what it writes has no line breaks in cells).

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
