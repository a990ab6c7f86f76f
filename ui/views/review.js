// The review queue: look, press one key, next.
import { fill, h } from "../dom.js";
import { integer } from "../format.js";
import { onKeyChange } from "../keys.js";
import { errorNotice, notice } from "./parts/notice.js";
import { Claims } from "./review/claims.js";
import { controlsOf } from "./review/controls.js";
import { caseOf, detailOf, titleOf } from "./review/detail.js";
import { Labels } from "./review/labels.js";
import { listOf } from "./review/list.js";
import { Queue } from "./review/queue.js";

const SECONDS = 15;

/** Labels of this tab: those that were not saved outlive the view. */
let labels = null;

/** Mounts the view. */
export async function mount(root, { api, announce, fields, status }) {
  const ending = new AbortController();
  const said = new Map();
  const skipped = new Set();
  const claims = new Claims(api);
  let queue = null;
  let catalogue = null;
  let totals = null;
  let failed = false;
  let current = -1;
  let together = [];

  labels ??= new Labels(api);
  const controls = controlsOf({ label, undo, move, skip, reload: load });
  const trouble = h("div", { class: "said" });
  const unsaved = h("div", { class: "said unsaved" });
  const list = h("div", { class: "queue-place" });
  const detail = h("article", { class: "panel", "aria-label": "Prediction" });
  const progress = h("div", { class: "progress-words" });
  const cases = h("div", { class: "said" });
  controls.update({ item: null, latest: labels.latest, said: null });
  fill(root,
    h("header", {}, h("h1", {}, "Review"), h("p", { class: "lead" },
      "Alerts, and approvals picked at random. Labels are saved under your key’s name; the latest one counts.")),
    controls.top,
    h("div", { class: "review" },
      h("section", { class: "panel slim", "aria-label": "Queue" }, progress, unsaved, list),
      h("div", { class: "desk" }, controls.labels, trouble, cases, detail)));

  labels.listen((entry) => {
    if (entry) {
      said.set(entry.item.prediction_id, entry);
      if (entry.state === "not saved") {
        announce(`Not saved: ${entry.name}, ${entry.label}`);
      } else {
        count();
      }
    }
    show();
  });

  async function load() {
    const { order, filters } = controls.wanted();
    queue = new Queue(api, order, filters, ending.signal);
    const mine = queue;
    current = -1;
    failed = false;
    skipped.clear();
    fill(trouble);
    fill(progress, h("p", { class: "muted", role: "status" }, "Loading…"));
    await more();
    if (mine !== queue || ending.signal.aborted) {
      return;
    }
    catalogue = await fields.read({ quiet: true }).catch(() => catalogue);
    await count();
    await open(next(0));
  }

  async function more() {
    try {
      await queue.load();
    } catch (error) {
      if (error.name !== "AbortError") {
        fill(trouble, errorNotice(error));
        queue.more = false;
        failed = queue.items.length === 0;
      }
    }
  }

  async function count() {
    totals = await queue.totals().catch(() => totals);
    show();
  }

  /** What was said of an item in this visit, or waits to be saved from an earlier one. */
  function saidOf(item) {
    return labels.of(item.prediction_id) ?? said.get(item.prediction_id);
  }

  function isOpen(item) {
    return !saidOf(item) && !skipped.has(item.prediction_id) && !claims.elsewhere(item);
  }

  /** The first from a place on that waits for this reviewer; -1 where there is none. */
  function next(from) {
    return queue.items.findIndex((item, place) => place >= from && isOpen(item));
  }

  function show() {
    const item = queue.items[current];
    fill(progress, progressOf());
    fill(unsaved, unsavedOf());
    controls.update({ item, latest: labels.latest, said: item && saidOf(item) });
    const scrolled = list.scrollTop;
    const focused = list.contains(document.activeElement);
    fill(list, queue.items.length > 0 && listOf(queue.items, saidOf, skipped, current, {
      choose, catalogue, elsewhere: (each) => claims.elsewhere(each) }),
      queue.more && h("button", { type: "button", onclick: () => more().then(show) }, "Show more"));
    list.scrollTop = scrolled;
    const mark = list.querySelector("[aria-current]");
    reveal(mark);
    if (focused) {
      mark?.focus({ preventScroll: true });
    }
    if (detail.dataset.shown !== (item?.prediction_id ?? "")) {
      detail.dataset.shown = item?.prediction_id ?? "";
      fill(detail, item ? detailOf(item, catalogue) : h("p", {}, nothing()));
    } else if (!item) {
      fill(detail, h("p", {}, nothing()));
    }
    fill(cases, item && keyOf(item) && caseOf(together, item, catalogue, {
      open: together.filter((each) => !saidOf(each)).length, label: (word) => label(word, true) }));
  }

  /** Scrolls the list alone: the page stays where its reader is. */
  function reveal(mark) {
    if (mark) {
      const [row, frame] = [mark.getBoundingClientRect(), list.getBoundingClientRect()];
      list.scrollTop += Math.min(0, row.top - frame.top) + Math.max(0, row.bottom - frame.bottom);
    }
  }

  /** The card or customer of an item; nothing where the contract has none. */
  function keyOf(item) {
    return item.inputs[catalogue?.withRole("entity")?.name];
  }

  function progressOf() {
    const fresh = totals?.arrived ?? 0;
    const words = totals
      ? `${integer(totals.waiting)} waiting · today ${integer(totals.labelled_today_by_you)} by you, ${integer(totals.labelled_today)} in all`
      : failed ? null : `${integer(queue.items.filter(isOpen).length)}${queue.more ? "+" : ""} waiting`;
    return [words && h("p", { class: "muted", role: "status" }, words),
      fresh > 0 && h("button", { type: "button", class: "fresh", onclick: load }, `${integer(fresh)} new: show`)];
  }

  function unsavedOf() {
    const rest = labels.notSaved;
    return rest.length > 0 && h("div", { class: "notice", "data-kind": "error", role: "alert" },
      h("strong", {}, `${integer(rest.length)} not saved`),
      h("ul", { class: "plain" }, rest.map(({ item, name, label: word, error }) =>
        h("li", {}, `${name} · ${item.prediction_id.slice(0, 13)}…: ${word}`, error && h("span", { class: "muted small" }, ` (${error.message})`)))),
      h("button", { type: "button", onclick: () => labels.retry(true) }, "Save now"));
  }

  function nothing() {
    if (failed) {
      return "The queue could not be read.";
    }
    const waiting = skipped.size > 0 ? ` ${integer(skipped.size)} skipped: reload to see them again.` : "";
    const others = queue.items.filter((item) => claims.elsewhere(item) && !saidOf(item)).length;
    const held = others > 0 ? ` ${integer(others)} open with other reviewers.` : "";
    return queue.items.length === 0 ? "Queue empty. New alerts appear here as they come in." : `All done.${waiting}${held}`;
  }

  /** Shows an item and claims it; one that another reviewer has got meanwhile is passed over. */
  async function open(place, focus = false) {
    current = place;
    together = [];
    show();
    if (focus) {
      list.querySelector("[aria-current]")?.focus({ preventScroll: true });
    }
    const item = queue.items[place];
    if (!item) {
      claims.release();
      return;
    }
    const taken = await claims.take(item);
    if (queue.items[current] !== item) {
      return;
    }
    if (taken) {
      await open(next(place + 1) < 0 ? next(0) : next(place + 1));
      return;
    }
    const key = keyOf(item);
    if (key) {
      const found = await queue.caseOf(key).catch(() => [item]);
      if (queue.items[current] === item) {
        together = found;
        show();
      }
    }
  }

  function choose(place, focus = false) {
    return open(place, focus);
  }

  function move(by) {
    const from = current < 0 ? (by < 0 ? queue.items.length : -1) : current;
    const to = from + by;
    if (to >= 0 && to < queue.items.length) {
      choose(to);
    }
  }

  async function onwards() {
    if (next(current + 1) < 0 && queue.more) {
      await more();
    }
    const following = next(current + 1);
    await open(following < 0 ? next(0) : following);
  }

  function skip() {
    const item = queue.items[current];
    if (item) {
      skipped.add(item.prediction_id);
      announce("Skipped");
      onwards();
    }
  }

  function label(word, all) {
    const item = queue.items[current];
    if (!item || (all && together.length < 2)) {
      return;
    }
    const chosen = all ? together.filter((each) => each === item || !saidOf(each)) : [item];
    const note = controls.takeNote();
    const mark = chosen.length > 1 ? {} : null;
    for (const each of chosen) {
      const name = titleOf(each, catalogue);
      said.set(each.prediction_id, labels.add({ item: each, label: word, note, name, together: mark }));
    }
    announce(chosen.length > 1 ? `${chosen.length} labelled ${word}` : `Labelled ${word}`);
    onwards();
  }

  function undo() {
    const taken = labels.undo();
    taken.forEach(({ item }) => said.delete(item.prediction_id));
    if (taken.length > 0) {
      announce(`Label ${taken[0].label} taken back`);
      choose(Math.max(queue.items.indexOf(taken[0].item), 0));
    }
  }

  window.addEventListener("keydown", controls.pressed, { signal: ending.signal });
  window.addEventListener("pagehide", () => claims.leave(), { signal: ending.signal });
  const timer = setInterval(() => {
    if (!document.hidden && status.current.state === "ready") {
      count();
      claims.renew();
    }
  }, SECONDS * 1000);
  let before = status.current.state;
  const forget = status.subscribe(({ state }) => {
    if (state === "ready" && before === "away") {
      labels.retry();
      if (failed) {
        load();
      }
    }
    before = state;
  });
  const forgetKey = onKeyChange(() => {
    if (failed) {
      load();
    }
    labels.retry();
  });
  await load();
  labels.retry();
  return () => {
    clearInterval(timer);
    forget();
    forgetKey();
    labels.listen(null);
    labels.flush();
    claims.release();
    ending.abort();
  };
}
