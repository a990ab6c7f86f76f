// One file on its way to the gateway and back: XMLHttpRequest, since fetch tells nothing of an upload's progress.
import { api, ApiError, headers, problemOf } from "../../api.js";

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
