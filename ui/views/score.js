// Score one: a transaction from a sample, pasted or typed, and what the gateway says of it.
import { fill, h } from "../dom.js";
import { errorNotice, notice } from "./parts/notice.js";
import { answerOf } from "./score/answer.js";
import { LiveCard } from "./parts/live_card.js";
import { TransactionForm } from "./score/form.js";
import { readPasted } from "./score/paste.js";

export async function mount(root, context) {
  const { api, settings, announce } = context;
  const card = new LiveCard(context);
  const ended = new AbortController();
  const said = h("div", { class: "said" });
  const form = new TransactionForm({ currency: settings.currency, onSubmit: score });
  const pasted = h("textarea", { id: "pasted", rows: 3, spellcheck: "false", class: "code",
    placeholder: '{"Time": 43200, "V1": -1.36, …}  or  43200,-1.36,…,149.62' });
  const answer = h("section", { class: "panel answer", "aria-labelledby": "answer-title" },
    h("h2", { id: "answer-title" }, "Answer"),
    h("p", { class: "muted" }, "The decision, the score against the thresholds and the reasons appear here."));

  async function sample(fraud) {
    try {
      form.set(await card.sample(fraud));
      fill(said, notice("info", `A ${fraud ? "fraudulent" : "legitimate"} sample of the live version is in the form.`));
    } catch (error) {
      fill(said, errorNotice(error));
    }
  }

  function usePasted() {
    try {
      const { values, ignored } = readPasted(pasted.value);
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
        said, form.element),
      answer));
  card.look();
  return () => {
    card.end();
    ended.abort();
  };
}

function list(messages) {
  return messages.length > 0 && h("ul", { class: "plain fault" }, messages.map((message) => h("li", {}, message)));
}
