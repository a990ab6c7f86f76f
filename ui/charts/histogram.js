// How scores are spread, with the thresholds. Heights are logarithmic: frauds are few, and would not be seen otherwise.
import { s } from "../dom.js";
import { integer, score, short } from "../format.js";
import { across, anchorAt, scoreAxis } from "./axis.js";

const BINS = 40;
const HEIGHT = 150;
const TOP = 36;

/**
 * @param {ArrayLike<number>} scores
 * @param {{alert: number|null, decline: number|null}} thresholds
 * @returns {SVGElement}
 */
export function histogram(scores, { alert, decline }) {
  const axis = scoreAxis(alert);
  const counts = new Array(BINS).fill(0);
  for (const each of scores) {
    counts[Math.min(BINS - 1, Math.floor(axis.position(each) * BINS))] += 1;
  }
  const top = Math.max(1, Math.ceil(Math.log10(Math.max(...counts) + 1)));
  const height = (count) => (count === 0 ? 0 : Math.max(2, (Math.log10(count + 1) / top) * HEIGHT));
  const bottom = TOP + HEIGHT;
  const above = alert === null ? "" : `, ${integer(scores.filter((each) => each >= alert).length)} at or above the alert threshold`;
  return s("svg", { class: "chart with-counts", height: bottom + 26, role: "img",
      "aria-label": `Histogram of ${integer(scores.length)} scores${above}` },
    gridLines(top, bottom),
    counts.map((count, place) => s("g", {},
      s("title", {}, `${integer(count)} with scores from ${score(axis.at(place / BINS))} to ${
        score(axis.at((place + 1) / BINS))}`),
      partsOf((place + 0.08) / BINS, (place + 0.92) / BINS, axis, alert, decline).map(({ kind, from, to }) =>
        s("rect", { class: kind, x: across(from), width: across(to - from), y: bottom - height(count), height: height(count) })))),
    s("line", { class: "axis", x1: 0, x2: "100%", y1: bottom, y2: bottom }),
    axis.ticks.map(({ position, label }) =>
      s("text", { x: across(position), y: bottom + 18, "text-anchor": anchorAt(position) }, label)),
    mark(axis, "alert", alert, "review", TOP - 4), mark(axis, "decline", decline, "decline", TOP - 20));
}

function gridLines(top, bottom) {
  return Array.from({ length: top }, (_, place) => {
    const y = bottom - ((place + 1) / top) * HEIGHT;
    return [
      s("line", { class: "axis", x1: 0, x2: "100%", y1: y, y2: y }),
      s("text", { x: -6, y: y + 4, "text-anchor": "end" }, short(10 ** (place + 1))),
    ];
  });
}

/** A bar from left to right in the colours of the decisions that it spans. */
function partsOf(left, right, axis, alert, decline) {
  const first = alert === null ? 1 : axis.position(Math.min(alert, 1));
  const last = decline === null ? 1 : axis.position(Math.min(decline, 1));
  const within = (place) => Math.min(right, Math.max(left, place));
  return [
    { kind: "bar", from: left, to: within(first) },
    { kind: "bar reviewed", from: within(first), to: within(last) },
    { kind: "bar declined", from: within(last), to: right },
  ].filter(({ from, to }) => to > from);
}

function mark(axis, kind, value, word, y) {
  if (value === null || value > 1) {
    return null;
  }
  const place = axis.position(value);
  return [
    s("line", { class: kind, x1: across(place), x2: across(place), y1: y + 3, y2: TOP + HEIGHT }),
    s("text", { class: kind, x: across(place), y, "text-anchor": anchorAt(place) }, `${word} from ${score(value)}`),
  ];
}
