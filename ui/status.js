// Whether the gateway is there, with which version, since when: asked for every few seconds, shown on every page.
import { fill, h } from "./dom.js";
import { dateTime } from "./format.js";

const SECONDS = { ready: 4, "no model": 2, away: 1.5, unknown: 1 };
const PATIENCE = 5000;

/**
 * Watches the gateway.
 *
 * `current` is {state: "unknown" | "ready" | "no model" | "away", version, loadedAt, digest, trouble}; `subscribe`
 * calls a function with it after every change and gives back what ends that; `look` asks at once.
 */
export class Status {
  #subscribers = new Set();
  #timer = null;
  #looking = null;

  constructor() {
    this.current = { state: "unknown", version: null, loadedAt: null, digest: null, trouble: null };
    document.addEventListener("visibilitychange", () => document.hidden || this.look());
    window.addEventListener("online", () => this.look());
  }

  subscribe(told) {
    this.#subscribers.add(told);
    return () => this.#subscribers.delete(told);
  }

  look() {
    this.#looking ??= this.#ask().finally(() => {
      this.#looking = null;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => document.hidden || this.look(), SECONDS[this.current.state] * 1000);
    });
    return this.#looking;
  }

  async #ask() {
    let found;
    try {
      const answer = await fetch("health/ready", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
      const said = await answer.json();
      found = answer.ok
        ? { state: "ready", version: said.model_version, loadedAt: said.loaded_at, digest: said.digest,
            trouble: said.trouble ? said.trouble.message : null }
        : { state: "no model", version: null, loadedAt: null, digest: null, trouble: said.detail };
    } catch {
      found = { ...this.current, state: "away", trouble: null };
    }
    if (JSON.stringify(found) !== JSON.stringify(this.current)) {
      this.current = found;
      this.#subscribers.forEach((told) => told(found));
    }
  }
}

/** Shows a status in an element, in words. */
export function showStatus(element, status, announce) {
  let before = status.current;
  const show = (now) => {
    element.dataset.state = now.state;
    element.toggleAttribute("data-trouble", now.state === "ready" && Boolean(now.trouble));
    fill(element, h("span", { class: "dot", "aria-hidden": "true" }), h("span", {}, words(now)),
      now.state === "ready" && h("span", {}, `Loaded ${dateTime(now.loadedAt)}`),
      now.state !== "away" && now.trouble && h("span", {}, now.trouble));
    if (before.state !== "unknown" && (before.state !== now.state || before.version !== now.version)) {
      announce(words(now));
    }
    before = now;
  };
  show(status.current);
  return status.subscribe(show);
}

function words({ state, version }) {
  return {
    unknown: "Connecting…",
    ready: `Ready · version ${version}`,
    "no model": "The gateway has no model yet",
    away: "Gateway unreachable. Your work is kept; reconnecting…",
  }[state];
}
