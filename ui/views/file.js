// Score a file: a CSV or Parquet goes up, its answer comes back while it is scored, and is shown, sorted and kept here.
import { fill, h } from "../dom.js";
import { integer } from "../format.js";
import { badRows, summaryOf } from "./file/summary.js";
import { contentsOf, CsvReader } from "./file/contents.js";
import { dropPlace } from "./file/drop.js";
import { Progress, upload } from "./file/upload.js";
import { Results } from "./file/results.js";
import { ResultTable } from "./file/table.js";
import { keepingOf } from "./parts/keeping.js";
import { LiveCard } from "./parts/live_card.js";
import { errorNotice, notice } from "./parts/notice.js";

/** What was scored last in this tab: who comes back to the view finds it there. */
let last = null;

export async function mount(root, context) {
  const card = new LiveCard(context);
  const progress = h("div", { class: "view" });
  const outcome = h("div", { class: "view", id: "outcome" });
  const left = new AbortController();
  const keeping = keepingOf("file", "trial");
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
        query: keeping.query("on_error=skip&amounts=true"),
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
    const catalogue = await context.fields.read({ quiet: true }).catch(() => null);
    last = {
      file: file.name, results, said, catalogue, decline: card.declineOf(results.version),
      amount: catalogue ? catalogue.withRole("amount")?.name ?? null : "amount",
      contents: await contents(file, results, catalogue),
    };
    show();
    context.announce(`${file.name}: ${integer(results.count)} rows scored, ${integer(results.bad.length)} bad`);
  }

  /** What a CSV says beyond the answer; nothing of other files, or where it cannot be read again. */
  async function contents(file, results, catalogue) {
    const none = { frauds: null, labelled: null, cells: new Map() };
    if (!catalogue || !file.name.toLowerCase().endsWith(".csv")) {
      return none;
    }
    const bad = new Set(results.bad.map(({ row }) => row));
    return contentsOf(file, { label: catalogue.label, positive: catalogue.positive, bad }).catch(() => none);
  }

  function show() {
    const { file, results, said, decline, amount, catalogue, contents: found } = last;
    const lines = file.toLowerCase().endsWith(".csv");
    const name = file.replace(/\.[^.]*$/, "");
    const any = results.count + results.bad.length > 0;
    const about = { lines, name, amount, catalogue, frauds: found.frauds, api: context.api };
    fill(outcome, said, any && summaryOf(results, { decline, amount, label: catalogue?.label, ...found }),
      badRows(results.bad, { lines, name, cells: found.cells }),
      results.count > 0 && new ResultTable(results, about).element,
      !any && !said && notice("info", "No row was scored."));
  }

  fill(root,
    h("header", {}, h("h1", {}, "Score a file"),
      h("p", { class: "lead" }, "Every row is scored by the version that is live when the upload has finished. Rows that cannot be scored are listed.")),
    h("section", { class: "panel", "aria-label": "File" }, keeping.element, dropPlace(begin, context.fields, left.signal)), progress, outcome);
  if (last) {
    fill(progress, h("p", { class: "muted" }, `Last scored: ${last.file}`));
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
