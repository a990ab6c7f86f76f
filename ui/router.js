// Which view the address's fragment names: #/score, #/file, ... Each is a module that is loaded when it is first seen.
import { fill, h } from "./dom.js";

export const VIEWS = {
  score: "Score one",
  file: "Score a file",
  review: "Review",
  model: "Model",
  watch: "Watch",
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
    const name = Object.hasOwn(VIEWS, wanted) ? wanted : "score";
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
      fill(place, h("p", { class: "notice", "data-kind": "error", role: "alert" },
        "This view could not be loaded. Reload the page when the gateway is back."));
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
