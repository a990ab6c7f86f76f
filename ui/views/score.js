// Score one: a transaction from a sample, pasted or typed, and what the gateway says of it.
import { fill, h } from "../dom.js";
import { errorNotice, notice } from "./parts/notice.js";
import { answerOf } from "./score/answer.js";
import { LiveCard } from "./parts/live_card.js";
import { TransactionForm } from "./score/form.js";
import { readPasted } from "./score/paste.js";

export async function mount(root, context) {
  const { api, settings, announce, fields, status } = context;
  const card = new LiveCard(context);
  const ended = new AbortController();
  const said = h("div", { class: "said" });
  const place = h("div", {});
  let catalogue = null;
  let form = null;
  const pasted = h("textarea", { id: "pasted", rows: 3, spellcheck: "false", class: "code" });
  const answer = h("section", { class: "panel answer", "aria-labelledby": "answer-title" },
    h("h2", { id: "answer-title" }, "Answer"),
    h("p", { class: "muted" }, "The decision, the score against the thresholds and the reasons appear here."));

  /** Builds the form of the live version's fields; what is in it stays where the fields stay. */
  async function build(options) {
    try {
      const read = await fields.read(options);
      if (catalogue?.digest !== read.digest || ended.signal.aborted) {
        const before = form?.values ?? {};
        form = new TransactionForm({ catalogue: read, currency: settings.currency, onSubmit: score });
        form.set(before);
        pasted.placeholder = exampleOf(read);
        fill(place, form.element);
      }
      catalogue = read;
    } catch (error) {
      if (form === null) {
        fill(place, notice(options.quiet ? "warning" : "error", "The fields of a transaction could not be read: ", error.message),
          h("button", { type: "button", onclick: () => build({}) }, "Try again"));
      }
    }
    return form !== null;
  }

  async function sample(fraud) {
    if (form === null && !(await build({}))) {
      return;
    }
    try {
      form.set(await card.sample(fraud));
      fill(said, notice("info", `A ${fraud ? "fraudulent" : "legitimate"} sample of the live version is in the form.`));
    } catch (error) {
      fill(said, errorNotice(error));
    }
  }

  async function usePasted() {
    if (form === null && !(await build({}))) {
      return;
    }
    try {
      const { values, ignored } = readPasted(pasted.value, catalogue);
      form.set(values);
      const rest = ignored.length ? ` Ignored: ${ignored.join(", ")}.` : "";
      fill(said, notice("info", `${Object.keys(values).length} fields are in the form.${rest}`));
    } catch (error) {
      fill(said, notice("error", error.message));
    }
  }

  async function score() {
    const body = form.read();
    form.button.disabled = true;
    fill(said);
    form.show([]);
    try {
      const started = performance.now();
      const prediction = await api.post("predict?explain=true", body, { signal: ended.signal });
      const milliseconds = performance.now() - started;
      if (card.declineOf(prediction.model_version) === null) {
        await card.look();
      }
      const decline = card.declineOf(prediction.model_version);
      fill(answer, h("h2", { id: "answer-title" }, "Answer"),
        answerOf(prediction, { body, decline, milliseconds, announce }));
      answer.scrollIntoView({ block: "nearest" });
      announce(`${prediction.decision}, score ${prediction.hybrid_score.toPrecision(3)}`);
    } catch (error) {
      if (!ended.signal.aborted) {
        form.button.disabled = false; // a disabled button would swallow the focus of the first bad field
        fill(said, errorNotice(error), list(form.show(error.errors || [])));
      }
    } finally {
      form.button.disabled = false;
    }
  }

  pasted.addEventListener("paste", () => setTimeout(usePasted));
  fill(root,
    h("header", {}, h("h1", {}, "Score one"),
      h("p", { class: "lead" }, "Load a sample, paste a transaction or type one, and see what the live version decides and why.")),
    h("div", { class: "columns" },
      h("section", { class: "panel", "aria-labelledby": "transaction-title" },
        h("h2", { id: "transaction-title" }, "Transaction"),
        h("div", { class: "row", role: "group", "aria-label": "Load a sample" },
          h("button", { type: "button", onclick: () => sample(false) }, "Legitimate sample"),
          h("button", { type: "button", onclick: () => sample(true) }, "Fraudulent sample")),
        h("div", { class: "field" }, h("label", { for: "pasted" }, "Or paste JSON or a CSV row"), pasted,
          h("div", {}, h("button", { type: "button", onclick: usePasted }, "Fill the form"))),
        said, place),
      answer));
  card.look();
  await build({ quiet: true });
  const forget = status.subscribe(({ state, version }) => {
    if (state === "ready" && version !== catalogue?.version) {
      build({ quiet: true });
    }
  });
  return () => {
    forget();
    card.end();
    ended.abort();
  };
}

/** What can be pasted, by the example of the first fields. */
function exampleOf({ scored }) {
  const value = ({ type, values, example }) => ({ number: example ?? 0, integer: example ?? 0, boolean: true,
    timestamp: "2026-01-31T12:00:00Z" })[type] ?? values?.[0] ?? "…";
  const few = scored.slice(0, 2);
  const more = scored.length > few.length ? ", …" : "";
  const json = few.map((field) => `${JSON.stringify(field.name)}: ${JSON.stringify(value(field))}`).join(", ");
  return `{${json}${more}}  or  ${few.map(value).join(",")}${more ? ",…" : ""}`;
}

function list(messages) {
  return messages.length > 0 && h("ul", { class: "plain fault" }, messages.map((message) => h("li", {}, message)));
}
