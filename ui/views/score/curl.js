// A request as a command for a shell. The key is a variable in it, never the key itself.
import { currentKey } from "../../keys.js";

/**
 * @param {Object} body
 * @param {string} query what else was asked for
 */
export function curl(body, query) {
  const address = new URL(`predict?${query}`, document.baseURI.split("#")[0]);
  return [
    `curl -sS ${quoted(address.href)}`,
    currentKey() && '-H "X-API-Key: $FRAUD_API_KEY"',
    "-H 'Content-Type: application/json'",
    `-d ${quoted(JSON.stringify(body))}`,
  ].filter(Boolean).join(" \\\n  ");
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
