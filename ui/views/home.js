// Home: what this is, what needs someone now, and where to go.
import { fill, h } from "../dom.js";
import { age, dateTime, integer, percent } from "../format.js";
import { mlflowLink, runsLink } from "./model/card.js";
import { errorNotice } from "./parts/notice.js";
import { redrawn } from "./parts/redraw.js";
import { breachesOf } from "./watch/drift.js";

const DAY = "watch?hours=24&buckets=48";

/** Mounts the view. */
export async function mount(root, { api, settings, status }) {
  const ending = new AbortController();
  const tiles = h("div", { class: "tiles" }, h("p", { class: "muted", role: "status" }, "Loading…"));
  const trouble = h("div", { class: "said" });
  const runs = h("span", {});
  let linked = null;
  fill(root,
    h("header", {}, h("h1", {}, "Card fraud"), h("p", { class: "lead" },
      "Every card transaction is scored as it comes in: approved, sent to a person for review, or declined. Here is what "
      + "needs attention now.")),
    trouble, tiles,
    h("section", { class: "panel", "aria-labelledby": "ways-title" }, h("h2", { id: "ways-title" }, "What you can do here"),
      h("dl", { class: "ways" }, [
        ["review", "Review", "Look at alerts, and say which were fraud."],
        ["score", "Score a transaction", "Try a single transaction and see why it is decided as it is."],
        ["file", "Score a file", "Score a CSV or Parquet file, row by row."],
        ["watch", "Live traffic", "Decisions, response times, drift and outcomes over time."],
        ["model", "Model", "How good the live version is, what the gate checked, and who promoted it."],
      ].map(([view, name, words]) => h("div", {}, h("dt", {}, h("a", { href: `#/${view}` }, name)), h("dd", {}, words)))),
      h("p", { class: "row links" }, h("a", { href: "docs" }, "API documentation"),
        mlflowLink(settings, `models/${settings.model_name}`, "Versions in MLflow", "span"),
        runs)));

  async function look() {
    const ask = (path, quiet = true) => api.get(path, { quiet, signal: ending.signal }).catch((error) => ({ error }));
    const today = new Date();
    today.setHours(0, 0, 0, 0);
    // the first call asks for a key where one is missing; the others would ask for the same
    const queue = await ask(`queue?today=${encodeURIComponent(today.toISOString())}`, false);
    const [watch, history] = await Promise.all([ask(DAY), ask("model/history")]);
    if (ending.signal.aborted) {
      return;
    }
    const failed = [queue, watch, history].find(({ error }) => error);
    fill(trouble, failed && errorNotice(failed.error));
    fill(tiles, versionTile(history, status.current), waitingTile(queue), breachTile(watch), refusalTile(history));
    if (settings.mlflow_page && linked !== status.current.digest) {
      const { error, card, digest } = await ask("model"); // only the card knows its experiment
      linked = error ? null : digest;
      fill(runs, runsLink(settings, card));
    }
  }

  const end = await redrawn(look, status);
  return () => {
    end();
    ending.abort();
  };
}

function tile(title, value, words, more = {}) {
  return h("section", { class: "panel tile", "aria-label": title, "data-kind": more.kind },
    h("h2", {}, title), h("p", { class: "value" }, value), h("p", { class: "muted" }, words),
    more.href && h("a", { href: more.href }, more.link));
}

function versionTile({ error, moves }, { state, version }) {
  const known = !error && moves.find(({ to, outcome }) => String(to) === version && outcome !== "undone");
  return tile("Live version", state === "ready" ? version : "none",
    known ? `Promoted ${dateTime(known.when)}${known.who ? ` by ${known.who}` : ""}` : "When it was promoted is not known.",
    { href: "#/model", link: "Model card", kind: state === "ready" ? "good" : "bad" });
}

function waitingTile({ error, waiting, alerts, sample, labelled_today: done, labelled_today_by_you: mine }) {
  if (error) {
    return tile("Waiting for review", "–", "The queue could not be read.");
  }
  return tile("Waiting for review", integer(waiting), waiting === 0 ? `Queue empty · ${integer(done)} labelled today`
    : `${integer(alerts)} alerts, ${integer(sample)} approvals picked at random · ${integer(done)} labelled today, ${
      integer(mine)} by you`,
  { href: "#/review", link: waiting === 0 ? "Review" : "Start reviewing", kind: waiting === 0 ? "good" : null });
}

function breachTile(watch) {
  if (watch.error) {
    return tile("Breaches, last 24 hours", "–", "Live traffic could not be read.");
  }
  const found = breachesOf(watch);
  const alerts = watch.shares.find(({ name }) => name === "alerts");
  const words = found.length > 0 ? `${found.slice(0, 3).map(({ words: said }) => said).join("; ")}${
    found.length > 3 ? ` and ${found.length - 3} more` : ""}`
    : watch.rows === 0 ? "No traffic yet." : `${integer(watch.rows)} decisions${
      alerts ? `, ${percent(alerts.value)} of them alerts` : ""}`;
  return tile("Breaches, last 24 hours", integer(found.length), words,
    { href: "#/watch", link: "Live traffic", kind: found.length > 0 ? "bad" : "good" });
}

function refusalTile({ error, refusals }) {
  if (error) {
    return tile("Last refusal", "–", "The history could not be read.");
  }
  const [last] = refusals;
  return last
    ? tile("Last refusal", `version ${last.to}`, `${age(last.when)} ago: ${last.why}`, { href: "#/model", link: "All refusals" })
    : tile("Last refusal", "none", "The gate has refused no candidate.");
}
