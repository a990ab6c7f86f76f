// The live version's card: what it learnt from, how good it is, what another threshold would do, how it came to answer.
import { fill, h } from "../dom.js";
import { onKeyChange } from "../keys.js";
import { errorNotice } from "./parts/notice.js";
import { curvesOf } from "./model/curves.js";
import { baselinesOf, checksOf, figuresOf, headOf, historyOf, lineageOf, policiesOf } from "./model/card.js";
import { whatIf } from "./model/what_if.js";

const AGAIN = 10_000;

/** Mounts the view; a version that goes live meanwhile takes the old one's place. */
export async function mount(root, { api, settings, status }) {
  const ending = new AbortController();
  const body = h("div", { class: "view" }, h("p", { class: "muted", role: "status" }, "Loading…"));
  let shown = null;
  let parts = [];
  let again = null;
  fill(root, h("h1", {}, "Model"), body);

  async function load() {
    clearTimeout(again);
    let live;
    let history;
    try {
      [live, history] = await Promise.all([
        api.get("model", { signal: ending.signal }),
        api.get("model/history", { signal: ending.signal }).catch((error) => ({ error })),
      ]);
    } catch (error) {
      if (error.name !== "AbortError") {
        fill(body, errorNotice(error));
        if (![401, 403].includes(error.status)) {
          again = setTimeout(load, AGAIN); // a card may be fetched some seconds after its version went live
        }
      }
      return;
    }
    parts.forEach((part) => part.end());
    const curves = curvesOf(live);
    const slider = whatIf(live);
    parts = [curves, slider];
    shown = live.digest;
    fill(body, headOf(live, settings, history), checksOf(live.card), figuresOf(live.card), baselinesOf(live.card), slider.element,
      curves.element, policiesOf(live), historyOf(history), lineageOf(live.card, settings));
  }

  const forget = status.subscribe(({ state, digest }) => {
    if (state === "ready" && digest !== shown) {
      load();
    }
  });
  const forgetKey = onKeyChange(load);
  await load();
  return () => {
    forget();
    forgetKey();
    clearTimeout(again);
    ending.abort();
    parts.forEach((part) => part.end());
  };
}
