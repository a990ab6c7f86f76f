// Rows as a CSV file to keep.
import { h } from "../../dom.js";

/**
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
