// Where a file is dropped or chosen.
import { fill, h } from "../../dom.js";
import { bytes } from "../../format.js";
import { LARGEST, mediaTypeOf } from "./upload.js";

/**
 * @param {function(File)} onFile is given files that can be sent
 * @param {import("../../fields.js").Fields} fields
 * @param {AbortSignal} ended when the view is left: until then a file may be dropped anywhere in the window, which the
 *   browser would otherwise open in place of the page
 * @returns {HTMLElement}
 */
export function dropPlace(onFile, fields, ended) {
  const fault = h("p", { class: "fault", role: "alert" });
  const input = h("input", { type: "file", id: "file", accept: ".csv,.parquet", class: "unseen" });
  const columns = h("span");
  const place = h("div", { class: "drop" },
    h("label", { for: "file", class: "button" }, "Choose a file"), input,
    h("p", {}, "or drop one here: CSV with a header, or Parquet"),
    h("p", { class: "muted small" },
      columns),
    fault);

  async function name() {
    try {
      const catalogue = await fields.read({ quiet: true });
      const needed = catalogue.scored.filter(({ required }) => required);
      const rest = catalogue.fields.filter(({ required }) => !required);
      fill(columns, needed.length > 0 && `Required columns: ${catalogue.inWords(needed)}, in any order`,
        rest.length > 0 && `${needed.length > 0 ? "; optional:" : "Optional columns:"} ${catalogue.inWords(rest)}`, ". ",
        `With ${catalogue.label} in a CSV, recall and precision are shown; the scores do not use it.`);
    } catch {
      fill(columns); // without a key: the answer to a file names the columns that it lacks
    }
  }

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
  name();
  return place;
}
