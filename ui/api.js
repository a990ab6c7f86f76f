// Calls to the gateway. Errors are its problem+json; where a key or a scope is missing, the person is asked for a key.
import { askForKey, currentKey } from "./keys.js";

/** What the gateway refused, or that it did not answer (status 0). */
export class ApiError extends Error {
  constructor(status, problem = {}) {
    super(problem.detail || "The gateway cannot be reached.");
    this.name = "ApiError";
    this.status = status;
    /** [{row?, field?, message}] of a 422 or 409. */
    this.errors = problem.errors || [];
    this.requestId = problem.request_id || null;
  }
}

/** The scope that a path needs, as serving/access.py says; none where any key will do. */
function scopeOf(path) {
  const first = path.split(/[/?]/)[0];
  return { predict: "predict", "predict-batch": "predict", feedback: "feedback", claims: "feedback", features: "" }[first] ?? "read";
}

/** Headers of a call with the tab's key. */
export function headers(extra = {}) {
  const key = currentKey();
  return key ? { ...extra, "X-API-Key": key } : extra;
}

/** An ApiError out of a status and the text that came with it. */
export function problemOf(status, text) {
  try {
    return new ApiError(status, JSON.parse(text));
  } catch {
    return new ApiError(status, { detail: `The gateway answered ${status}.` });
  }
}

/**
 * Runs a call; where it lacks a key or a scope, asks for one and runs it once more.
 * @param {string} path
 * @param {function(): Promise} call
 */
export async function withKey(path, call) {
  try {
    return await call();
  } catch (error) {
    if (!(error instanceof ApiError) || ![401, 403].includes(error.status)) {
      throw error;
    }
    const scope = scopeOf(path);
    const why = error.status === 403
      ? `The key in use lacks the scope “${scope}”. Give one that has it.`
      : `This needs an API key${scope && ` with the scope “${scope}”`}.`;
    if (await askForKey(why)) {
      return call();
    }
    throw error;
  }
}

async function send(path, { method = "GET", body, signal }) {
  const options = { method, signal, cache: "no-store", headers: headers() };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") {
      throw error;
    }
    throw new ApiError(0);
  }
  if (!answer.ok) {
    throw problemOf(answer.status, await answer.text());
  }
  return answer.json();
}

function ask(path, { quiet = false, ...options }) {
  const call = () => send(path, options);
  return quiet ? call() : withKey(path, call);
}

/** Paths are relative to the page, without a leading slash, so that a prefix of a proxy stays. */
export const api = {
  get: (path, options = {}) => ask(path, options),
  post: (path, body, options = {}) => ask(path, { ...options, method: "POST", body }),
};
