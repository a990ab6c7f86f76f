// One file on its way to the gateway and back, and how far it is: XMLHttpRequest, since fetch tells nothing of an upload's progress.
import { api, ApiError, headers, problemOf } from "../../api.js";
import { fill, h } from "../../dom.js";
import { bytes, duration, integer } from "../../format.js";

const TYPES = { csv: "text/csv", parquet: "application/vnd.apache.parquet" };

/** The answer is read as one text, which a browser holds up to some hundreds of megabytes of. */
export const LARGEST = 512 * 1000 ** 2;

/** A file's media type by its name, or null. */
export function mediaTypeOf(name) {
  return TYPES[name.toLowerCase().split(".").pop()] ?? null;
}

/**
 * Sends a file; the answer comes as CSV.
 * @param {File} file
 * @param {{signal: AbortSignal, query: string, onSent: function(number), onText: function(string)}} told
 *   query: of POST /predict-batch; onSent: bytes sent so far; onText: the next piece of the answer
 * @returns {Promise<void>} rejects with an ApiError, or an AbortError after a cancel
 */
export async function upload(file, told) {
  // Refusals come before a body is read, and a browser that still sends loses them: ask with an empty batch first.
  await api.post(pathOf(told), [], { signal: told.signal });
  await send(file, told);
}

/** A part of a string keeps all of it in memory; what is cut out of the copy keeps the part alone. */
function copied(text) {
  return new TextDecoder().decode(new TextEncoder().encode(text));
}

function pathOf({ query }) {
  return `predict-batch?${query}`;
}

function send(file, { signal, query, onSent, onText }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let read = 0;
    const take = () => {
      if (request.status !== 200) {
        return;
      }
      const text = copied(request.responseText.slice(read));
      read += text.length;
      try {
        onText(text);
      } catch (error) {
        reject(error);
        request.abort();
      }
    };
    const cancel = () => request.abort();
    request.open("POST", pathOf({ query }));
    for (const [name, value] of Object.entries(headers({ "Content-Type": mediaTypeOf(file.name), Accept: "text/csv" }))) {
      request.setRequestHeader(name, value);
    }
    request.upload.onprogress = (event) => onSent(event.loaded);
    request.upload.onload = () => onSent(file.size);
    request.onprogress = take;
    request.onload = () => {
      take();
      if (request.status === 200) {
        resolve();
      } else {
        reject(problemOf(request.status, request.responseText));
      }
    };
    request.onerror = () => reject(read > 0
      ? new ApiError(0, { detail: "The answer was cut off. What had arrived is kept; score the file again." })
      : new ApiError(0));
    request.onabort = () => reject(new DOMException("Cancelled", "AbortError"));
    request.onloadend = () => signal.removeEventListener("abort", cancel);
    signal.addEventListener("abort", cancel);
    request.send(file);
  });
}

/** How far a file is: sent, scored, how fast, and the way to stop it. */
export class Progress {
  #started = performance.now();
  #bar = h("progress", { max: 1, value: 0, "aria-label": "Upload" });
  #words = h("p", { class: "number-words" });
  #cancel;
  #file;
  #drawn = 0;

  /** @param {File} file @param {function()} onCancel */
  constructor(file, onCancel) {
    this.#file = file;
    this.#cancel = h("button", { type: "button", onclick: onCancel }, "Cancel");
    this.element = h("section", { class: "panel", "aria-label": "Progress" },
      h("div", { class: "row apart" }, h("h2", {}, file.name), this.#cancel), this.#bar, this.#words);
  }

  /** Seconds since it began. */
  get seconds() {
    return (performance.now() - this.#started) / 1000;
  }

  /** Shows where it is, at most some times a second. */
  show(sent, rows) {
    if (performance.now() - this.#drawn < 100) {
      return;
    }
    this.#drawn = performance.now();
    if (sent < this.#file.size) {
      this.#bar.value = sent / this.#file.size;
    } else {
      this.#bar.removeAttribute("value"); // how many rows are to come is not known
    }
    const speed = this.seconds > 0 ? rows / this.seconds : 0;
    fill(this.#words, `${bytes(sent)} of ${bytes(this.#file.size)} sent · ${integer(rows)} rows scored`,
      rows > 0 && ` · ${integer(speed)} rows per second`);
  }

  /** Says how it ended; there is nothing to cancel then. */
  end(rows, how) {
    const seconds = this.seconds;
    this.#bar.hidden = true;
    this.#cancel.hidden = true;
    fill(this.#words, how ?? `${integer(rows)} rows in ${duration(seconds)} · ${integer(rows / seconds)} rows per second`);
  }
}
