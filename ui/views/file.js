// Score a file: a CSV or Parquet goes up, its answer comes back while it is scored, and is shown, sorted and kept here.
import { fill, h } from "../dom.js";
import { integer } from "../format.js";
import { badRows } from "./file/bad_rows.js";
import { CsvReader } from "./file/csv.js";
import { dropPlace } from "./file/drop.js";
import { Progress } from "./file/progress.js";
import { Results } from "./file/results.js";
import { summaryOf } from "./file/summary.js";
import { ResultTable } from "./file/table.js";
import { upload } from "./file/upload.js";
import { LiveCard } from "./parts/live_card.js";
import { errorNotice, notice } from "./parts/notice.js";

/** What was scored last in this tab: who comes back to the view finds it there. */
let last = null;

export async function mount(root, context) {
  const card = new LiveCard(context);
  const progress = h("div", { class: "view" });
  const outcome = h("div", { class: "view", id: "outcome" });
  const left = new AbortController();
  let running = null;

  async function begin(file) {
    running?.abort();
    running = new AbortController();
    const { signal } = running;
    const bar = new Progress(file, () => running.abort());
    const results = new Results();
    const reader = new CsvReader((cells, header) => results.add(cells, header));
    let sent = 0;
    fill(progress, bar.element);
    fill(outcome);
    last = null;
    let said = null;
    try {
      await upload(file, {
        signal,
        onSent: (count) => {
          sent = count;
          bar.show(sent, results.count);
        },
        onText: (text) => {
          reader.feed(text);
          bar.show(sent, results.count);
        },
      });
      reader.end();
      bar.end(results.count);
    } catch (error) {
      const cancelled = error.name === "AbortError";
      bar.end(results.count, cancelled ? `Cancelled after ${integer(results.count)} rows` : "Not finished");
      said = cancelled ? null : [errorNotice(error), faults(error.errors)];
    }
    if (results.version && card.declineOf(results.version) === null) {
      await card.look();
    }
    last = { file: file.name, results, said, decline: card.declineOf(results.version), amount: await amountName() };
    show();
    context.announce(`${file.name}: ${integer(results.count)} rows scored, ${integer(results.bad.length)} bad`);
  }

  /** What the contract calls the amount; null where it has none. */
  async function amountName() {
    try {
      return (await context.fields.read({ quiet: true })).withRole("amount")?.name ?? null;
    } catch {
      return "amount";
    }
  }

  function show() {
    const { file, results, said, decline, amount } = last;
    const lines = file.toLowerCase().endsWith(".csv");
    const name = file.replace(/\.[^.]*$/, "");
    const any = results.count + results.bad.length > 0;
    fill(outcome, said, any && summaryOf(results, decline, amount), badRows(results.bad, lines, name),
      results.count > 0 && new ResultTable(results, { lines, name, amount }).element,
      !any && !said && notice("info", "No row was scored."));
  }

  fill(root,
    h("header", {}, h("h1", {}, "Score a file"),
      h("p", { class: "lead" }, "Every row is decided by the version that is live when the file has arrived. Rows that cannot be scored are listed; the good ones are kept.")),
    h("section", { class: "panel", "aria-label": "File" }, dropPlace(begin, context.fields, left.signal)), progress, outcome);
  if (last) {
    fill(progress, h("p", { class: "muted" }, `Scored last: ${last.file}`));
    show();
  }
  card.look();
  return () => {
    card.end();
    running?.abort();
    left.abort();
  };
}

function faults(errors) {
  return errors?.length > 0 && h("ul", { class: "plain fault" }, errors.map(({ row, field, message }) =>
    h("li", {}, [row !== undefined && `Row ${row}`, field, message].filter(Boolean).join(": "))));
}
