// Where a file is dropped or chosen.
import { fill, h } from "../../dom.js";
import { bytes } from "../../format.js";
import { LARGEST, mediaTypeOf } from "./upload.js";

/**
 * @param {function(File)} onFile is given files that can be sent
 * @param {AbortSignal} ended when the view is left: until then a file may be dropped anywhere in the window, which the
 *   browser would otherwise open in place of the page
 * @returns {HTMLElement}
 */
export function dropPlace(onFile, ended) {
  const fault = h("p", { class: "fault", role: "alert" });
  const input = h("input", { type: "file", id: "file", accept: ".csv,.parquet", class: "unseen" });
  const place = h("div", { class: "drop" },
    h("label", { for: "file", class: "button" }, "Choose a file"), input,
    h("p", {}, "or drop one here: CSV with a header, or Parquet"),
    h("p", { class: "muted small" },
      "Columns Time, V1 to V28 and Amount in any order, and if you like transaction_id and event_time. ",
      "Class, Weight and engineered features may be there; they are not used. Every prediction is kept by the gateway."),
    fault);

  function take(file) {
    fill(fault);
    if (mediaTypeOf(file.name) === null) {
      fill(fault, `${file.name} is neither .csv nor .parquet.`);
    } else if (file.size > LARGEST) {
      fill(fault, `${file.name} has ${bytes(file.size)}; this page takes up to ${bytes(LARGEST)}. Send it by curl.`);
    } else {
      onFile(file);
    }
  }

  input.addEventListener("change", () => {
    if (input.files[0]) {
      take(input.files[0]);
      input.value = ""; // the same file may be chosen again
    }
  });
  for (const kind of ["dragover", "dragleave", "drop"]) {
    window.addEventListener(kind, (event) => {
      event.preventDefault();
      place.toggleAttribute("data-over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files[0]) {
        take(event.dataTransfer.files[0]);
      }
    }, { signal: ended });
  }
  return place;
}
