// Which view the address's fragment names: #/score, #/file, ... Each is a module that is loaded when it is first seen.
import { fill, h } from "./dom.js";

export const VIEWS = {
  home: "Home",
  review: "Review",
  score: "Score a transaction",
  file: "Score a file",
  watch: "Live traffic",
  model: "Model",
};

/**
 * Mounts views as the fragment changes.
 * @param {HTMLElement} root
 * @param {HTMLElement} navigation
 * @param {Object} context what views are given
 */
export function route(root, navigation, context) {
  let unmount = null;
  let turn = 0;

  const links = Object.entries(VIEWS).map(([name, title]) => h("a", { href: `#/${name}` }, title));
  fill(navigation, links);

  async function show(moved) {
    if (location.hash && !location.hash.startsWith("#/")) {
      return; // the skip link
    }
    const wanted = location.hash.slice(2).split(/[/?]/)[0];
    const name = Object.hasOwn(VIEWS, wanted) ? wanted : "home";
    const mine = (turn += 1);
    links.forEach((link) => {
      link.toggleAttribute("aria-current", false);
      if (link.hash === `#/${name}`) {
        link.setAttribute("aria-current", "page");
      }
    });
    document.title = `${VIEWS[name]} · Card fraud`;
    unmount?.();
    unmount = null;
    const place = h("div", { class: "view", "data-view": name });
    fill(root, place);
    let ended = null;
    try {
      const view = await import(`./views/${name}.js`);
      ended = mine === turn ? await view.mount(place, context) : null;
    } catch (error) {
      console.error(error);
      fill(place, h("h1", {}, VIEWS[name]), h("p", { class: "notice", "data-kind": "error", role: "alert" },
        "This view could not be loaded. It is tried again as soon as the gateway is back."));
      ended = mine === turn ? whenReady(context.status, () => loadAnew(place, error)) : null;
    }
    if (mine !== turn) {
      ended?.();
      return;
    }
    unmount = ended;
    if (moved) {
      const heading = place.querySelector("h1") || root;
      heading.setAttribute("tabindex", "-1");
      heading.focus({ preventScroll: true });
      window.scrollTo(0, 0);
    }
  }

  window.addEventListener("hashchange", () => show(true));
  return show(false);
}

const TRIED = "fraud.reloaded";
const PAUSE = 60_000;

/** Calls a function as soon as the gateway is ready; gives back what ends the wait. */
function whenReady(status, act) {
  let away = status.current.state !== "ready";
  const look = (now) => {
    if (now.state !== "ready") {
      away = true;
    } else if (away) {
      forget();
      act();
    }
  };
  const forget = status.subscribe(look);
  if (!away) { // it may have gone just now, and the status does not know it yet
    status.look().then(() => look(status.current));
  }
  return forget;
}

/** A browser remembers that a module could not be fetched: only a new page asks again, and not over and over. */
function loadAnew(place, error) {
  const last = Number(sessionStorage.getItem(TRIED) ?? 0);
  if (Date.now() - last > PAUSE) {
    sessionStorage.setItem(TRIED, String(Date.now()));
    location.reload();
  } else {
    fill(place.querySelector(".notice"), `This view could not be loaded: ${error.message}`);
  }
}
