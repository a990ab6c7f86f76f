// Builds elements. Data becomes text nodes and attributes, never markup, so that nothing in it can run.

/**
 * An HTML element.
 * @param {string} tag
 * @param {Object} attributes on<event>: listener; true: attribute without value; null, undefined, false: left out
 * @param {...(Node|string|number|Array|null|false|undefined)} children
 */
export function h(tag, attributes = {}, ...children) {
  return furnished(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function s(tag, attributes = {}, ...children) {
  return furnished(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

/** Puts children in the place of whatever a node holds. */
export function fill(node, ...children) {
  node.replaceChildren(...flat(children));
  return node;
}

function furnished(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function" && name.startsWith("on")) {
      node.addEventListener(name.slice(2).toLowerCase(), value);
    } else if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(name, value === true ? "" : String(value));
    }
  }
  node.append(...flat(children));
  return node;
}

function flat(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : String(child)));
}
