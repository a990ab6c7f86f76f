// One score on a scale, with the decisions' ranges and the thresholds between them.
import { s } from "../dom.js";
import { score as shown } from "../format.js";
import { across, anchorAt, scoreAxis } from "./axis.js";

const TOP = 34;
const BAND = 14;

/**
 * A score against the thresholds.
 * @param {{score: number, alert: number, decline: number|null}} data decline: null where unknown, above 1 where never
 * @returns {SVGElement}
 */
export function scale({ score, alert, decline }) {
  const axis = scoreAxis(alert);
  const [here, first] = [axis.position(score), axis.position(alert)];
  const declines = decline !== null && decline <= 1;
  const last = declines ? axis.position(decline) : 1;
  const bottom = TOP + BAND;
  const words = `Score ${shown(score)}; reviewed from ${shown(alert)}`
    + (declines ? `, declined from ${shown(decline)}` : "");
  return s("svg", { class: "chart", width: "100%", height: bottom + 58, role: "img", "aria-label": words },
    zone("approve", 0, first), zone("review", first, last), declines && zone("decline", last, 1),
    axis.ticks.map(({ position, label }) =>
      s("text", { x: across(position), y: bottom + 54, "text-anchor": anchorAt(position) }, label)),
    threshold("alert", first, `review from ${shown(alert)}`, 18),
    declines && threshold("decline", last, `decline from ${shown(decline)}`, 34),
    s("line", { class: "pointer", x1: across(here), x2: across(here), y1: TOP - 10, y2: bottom + 4 }),
    s("circle", { class: "pointer", cx: across(here), cy: TOP - 10, r: 5 }),
    s("text", { class: "strong", x: across(here), y: TOP - 20, "text-anchor": anchorAt(here) }, shown(score)));
}

function zone(kind, from, to) {
  return s("rect", { class: `zone-${kind}`, x: across(from), y: TOP, width: across(Math.max(0, to - from)), height: BAND });
}

function threshold(kind, place, label, below) {
  return [
    s("line", { class: kind, x1: across(place), x2: across(place), y1: TOP, y2: TOP + BAND + below - 10 }),
    s("text", { class: kind, x: across(place), y: TOP + BAND + below, "text-anchor": anchorAt(place) }, label),
  ];
}
