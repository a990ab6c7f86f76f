// Score a transaction: from a sample, pasted or typed, and what the gateway says of it.
import { fill, h } from "../dom.js";
import { score as shownScore } from "../format.js";
import { onKeyChange } from "../keys.js";
import { errorNotice, notice } from "./parts/notice.js";
import { keepingOf } from "./parts/keeping.js";
import { answerOf, nameOf } from "./score/answer.js";
import { LiveCard } from "./parts/live_card.js";
import { TransactionForm } from "./score/form.js";
import { readPasted } from "./score/paste.js";

export async function mount(root, context) {
  const { api, settings, announce, fields, status } = context;
  const card = new LiveCard(context);
  const ended = new AbortController();
  const said = h("div", { class: "said" });
  const place = h("div", {});
  const keeping = keepingOf("score", "trial");
  let catalogue = null;
  let form = null;
  let building = null;
  let filling = Promise.resolve();
  let answered = null;
  const pasted = h("textarea", { id: "pasted", rows: 3, spellcheck: "false", class: "code" });
  const stale = h("div", { class: "said" });
  const title = h("h2", { id: "answer-title" }, "Answer");
  const content = h("div", { class: "section" },
    h("p", { class: "muted" }, "The decision, the score against the thresholds and the reasons appear here."));
  const answer = h("section", { class: "panel answer", "aria-labelledby": "answer-title" }, title, stale, content);

  /** Builds the form of the live version's fields, once for all who wait for it; what is in it stays where fields stay. */
  function build(options) {
    building ??= construct(options).finally(() => {
      building = null;
    });
    return building;
  }

  async function construct(options) {
    try {
      const read = await fields.read(options);
      if (ended.signal.aborted) {
        return false;
      }
      if (catalogue?.digest !== read.digest) {
        const before = form?.values ?? {};
        form = new TransactionForm({ catalogue: read, currency: settings.currency, onSubmit: score, onChange: outdate });
        form.set(before);
        pasted.placeholder = exampleOf(read);
        fill(place, form.element);
      }
      catalogue = read;
    } catch (error) {
      if (form === null && !ended.signal.aborted) {
        fill(place, notice(options.quiet ? "warning" : "error", "The fields of a transaction could not be read: ", error.message),
          h("button", { type: "button", onclick: () => build({}) }, "Try again"));
      }
    }
    return form !== null;
  }

  /** Fills the form; whoever scores meanwhile waits for it. */
  function fillBy(work) {
    filling = (async () => {
      try {
        if (form === null && !(await build({ quiet: true })) && !(await build({}))) {
          return;
        }
        fill(said, notice("info", await work()));
      } catch (error) {
        fill(said, errorNotice(error));
      }
    })();
    return filling;
  }

  function sample(fraud) {
    return fillBy(async () => {
      form.set(await card.sample(fraud));
      return `A ${fraud ? "fraudulent" : "legitimate"} sample of the live version is in the form.`;
    });
  }

  function usePasted() {
    return fillBy(async () => {
      const { values, ignored } = readPasted(pasted.value, catalogue);
      form.set(values);
      return `${Object.keys(values).length} fields are in the form.${ignored.length ? ` Ignored: ${ignored.join(", ")}.` : ""}`;
    });
  }

  /** An answer belongs to what was sent: with the first change of the form it is one about something else. */
  function outdate(why = "The form has changed since") {
    if (answered) {
      answer.setAttribute("data-stale", "");
      fill(stale, notice("warning", `${why}: this answer is about ${answered.replace(/…$/, "")}.`));
    }
  }

  async function score() {
    await filling;
    const body = form.read();
    form.button.disabled = true;
    fill(said);
    form.show([]);
    try {
      const started = performance.now();
      const query = keeping.query("explain=true");
      const prediction = await api.post(`predict?${query}`, body, { signal: ended.signal });
      const milliseconds = performance.now() - started;
      if (card.declineOf(prediction.model_version) === null) {
        await card.look();
      }
      const decline = card.declineOf(prediction.model_version);
      answered = nameOf(prediction, body, catalogue);
      answer.removeAttribute("data-stale");
      fill(stale);
      fill(title, `Answer for ${answered}`);
      fill(content, answerOf(prediction, { body, decline, milliseconds, announce, catalogue, query }));
      if (JSON.stringify(form.read()) !== JSON.stringify(body)) {
        outdate(); // it was changed while the answer was on its way
      }
      answer.scrollIntoView({ block: "nearest" });
      announce(`${prediction.decision}, score ${shownScore(prediction.hybrid_score)}, for ${answered}`);
    } catch (error) {
      if (!ended.signal.aborted) {
        form.button.disabled = false; // a disabled button would swallow the focus of the first bad field
        fill(said, errorNotice(error), list(form.show(error.errors || [])));
        outdate("The form was not scored");
      }
    } finally {
      form.button.disabled = false;
    }
  }

  pasted.addEventListener("paste", () => setTimeout(usePasted));
  fill(root,
    h("header", {}, h("h1", {}, "Score a transaction"),
      h("p", { class: "lead" }, "Load a sample, paste a transaction or type one, and see what the live version decides and why.")),
    h("div", { class: "columns" },
      h("section", { class: "panel", "aria-labelledby": "transaction-title" },
        h("h2", { id: "transaction-title" }, "Transaction"),
        h("div", { class: "row", role: "group", "aria-label": "Load a sample" },
          h("button", { type: "button", onclick: () => sample(false) }, "Legitimate sample"),
          h("button", { type: "button", onclick: () => sample(true) }, "Fraudulent sample")),
        h("div", { class: "field" }, h("label", { for: "pasted" }, "Or paste JSON or a CSV row"), pasted,
          h("div", {}, h("button", { type: "button", onclick: usePasted }, "Fill the form"))),
        said, keeping.element, place),
      answer));
  card.look();
  await build({ quiet: true });
  const forget = status.subscribe(({ state, version }) => {
    if (state === "ready" && version !== catalogue?.version) {
      build({ quiet: true });
    }
  });
  const forgetKey = onKeyChange(() => form === null && build({ quiet: true }));
  return () => {
    forget();
    forgetKey();
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
