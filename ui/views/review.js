// The review queue: look, press one key, next.
import { fill, h } from "../dom.js";
import { integer } from "../format.js";
import { errorNotice, notice } from "./parts/notice.js";
import { controlsOf } from "./review/controls.js";
import { detailOf } from "./review/detail.js";
import { Labels } from "./review/labels.js";
import { listOf } from "./review/list.js";
import { Queue } from "./review/queue.js";

/** Mounts the view. */
export async function mount(root, { api, announce, fields }) {
  const ending = new AbortController();
  const said = new Map();
  let queue = null;
  let catalogue = null;
  let current = 0;

  const labels = new Labels(api, (entry, error) => {
    if (error) {
      said.delete(entry.item.prediction_id);
      fill(trouble, errorNotice(error), notice("warning", "The label was not taken; give it again."));
    }
    show();
  });
  const controls = controlsOf({ label, undo, move, order: load, reload: () => load(queue.order) });
  const trouble = h("div", { class: "said" });
  const list = h("div", { class: "queue-place" });
  const detail = h("article", { class: "panel", "aria-label": "Prediction" });
  const progress = h("p", { class: "muted", role: "status" });
  fill(root,
    h("header", {}, h("h1", {}, "Review"), h("p", { class: "lead" },
      "Alerts, and approvals drawn at random. What you say is kept with your key's name; the newest label counts.")),
    controls.top, trouble,
    h("div", { class: "review" },
      h("section", { class: "panel slim", "aria-label": "Queue" }, progress, list),
      h("div", { class: "desk" }, controls.labels, detail)));

  async function load(order) {
    queue = new Queue(api, order, ending.signal);
    current = 0;
    fill(trouble);
    fill(progress, "Loading…");
    await more();
    catalogue = await fields.read({ quiet: true }).catch(() => catalogue);
    current = Math.max(0, next(0));
    show();
  }

  async function more() {
    try {
      await queue.load();
    } catch (error) {
      if (error.name !== "AbortError") {
        fill(trouble, errorNotice(error));
        queue.more = false;
      }
    }
  }

  /** The first from a place on that nobody has labelled yet; -1 where there is none. */
  function next(from) {
    return queue.items.findIndex((item, place) => place >= from && !said.has(item.prediction_id));
  }

  function show() {
    const item = queue.items[current];
    const open = queue.items.filter(({ prediction_id }) => !said.has(prediction_id)).length;
    fill(progress, `${integer(open)}${queue.more ? "+" : ""} to review · ${integer(labels.count)} labelled`);
    controls.update({ item, latest: labels.latest, done: item && said.get(item.prediction_id) });
    fill(list, listOf(queue.items, said, current, choose, catalogue),
      queue.more && h("button", { type: "button", onclick: () => more().then(show) }, "Show more"));
    list.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
    fill(detail, item ? detailOf(item, catalogue) : h("p", {}, "Nothing waits for review. New alerts appear when you reload the queue."));
  }

  function choose(place) {
    current = place;
    show();
  }

  function move(by) {
    choose(Math.min(Math.max(current + by, 0), Math.max(queue.items.length - 1, 0)));
  }

  async function label(word) {
    const item = queue.items[current];
    if (!item) {
      return;
    }
    fill(trouble);
    said.set(item.prediction_id, word);
    labels.add(item, word);
    announce(`Labelled ${word}`);
    if (next(current + 1) < 0 && queue.more) {
      await more();
    }
    const following = next(current + 1);
    choose(following < 0 ? Math.max(next(0), 0) : following);
  }

  function undo() {
    const entry = labels.undo();
    if (entry) {
      said.delete(entry.item.prediction_id);
      announce(`Label ${entry.label} taken back`);
      choose(Math.max(queue.items.indexOf(entry.item), 0));
    }
  }

  const leave = () => labels.flush();
  window.addEventListener("pagehide", leave, { signal: ending.signal });
  window.addEventListener("keydown", controls.pressed, { signal: ending.signal });
  await load("newest");
  return () => {
    leave();
    ending.abort();
  };
}
