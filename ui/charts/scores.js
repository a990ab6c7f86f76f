// Where a score stands between 0 and 1, linear or logarithmic; one score on that scale, and how many are spread over it.
import { s } from "../dom.js";
import { integer, score as shown, short, significant } from "../format.js";

const LINEAR_FROM = 0.05;
const DECADES_BELOW = 3;
const BAND_TOP = 34;
const BAND = 14;
const BINS = 40;
const HEIGHT = 150;
const BARS_TOP = 36;

/**
 * An axis for hybrid scores.
 * @param {number|null} alert the alert threshold; below 0.05 the axis is logarithmic
 * @returns {{logarithmic: boolean, position: function(number): number, at: function(number): number,
 *   ticks: {position: number, label: string}[]}} position: score to 0..1; at: back again
 */
export function scoreAxis(alert) {
  if (alert === null || alert === undefined || alert >= LINEAR_FROM || alert <= 0) {
    const clamp = (score) => Math.min(1, Math.max(0, score));
    return { logarithmic: false, position: clamp, at: clamp, ticks: ticksAt([0, 0.25, 0.5, 0.75, 1], clamp) };
  }
  const lowest = Math.max(-9, Math.floor(Math.log10(alert)) - DECADES_BELOW);
  const position = (score) => (score <= 0 ? 0 : Math.min(1, Math.max(0, 1 - Math.log10(score) / lowest)));
  const at = (place) => 10 ** (lowest * (1 - place));
  const step = Math.ceil(-lowest / 5);
  const powers = [];
  for (let power = 0; power >= lowest; power -= step) {
    powers.push(10 ** power);
  }
  return { logarithmic: true, position, at, ticks: ticksAt(powers.reverse(), position) };
}

function ticksAt(values, position) {
  return values.map((value) => ({ position: position(value), label: significant(value, 2) }));
}

/** Percent for an SVG attribute: charts are as wide as their place, and their text keeps its size. */
export function across(place) {
  return `${(100 * place).toFixed(3)}%`;
}

/** A text's anchor that keeps it within the chart. */
export function anchorAt(place) {
  return place < 0.14 ? "start" : place > 0.86 ? "end" : "middle";
}

/**
 * One score with the decisions' ranges and the thresholds between them.
 * @param {{score: number, alert: number, decline: number|null}} data decline: null where unknown, above 1 where never
 * @returns {SVGElement}
 */
export function scale({ score, alert, decline }) {
  const axis = scoreAxis(alert);
  const [here, first] = [axis.position(score), axis.position(alert)];
  const declines = decline !== null && decline <= 1;
  const last = declines ? axis.position(decline) : 1;
  const bottom = BAND_TOP + BAND;
  const words = `Score ${shown(score)}; reviewed from ${shown(alert)}`
    + (declines ? `, declined from ${shown(decline)}` : "");
  return s("svg", { class: "chart", width: "100%", height: bottom + 58, role: "img", "aria-label": words },
    zone("approve", 0, first), zone("review", first, last), declines && zone("decline", last, 1),
    axis.ticks.map(({ position, label }) =>
      s("text", { x: across(position), y: bottom + 54, "text-anchor": anchorAt(position) }, label)),
    threshold("alert", first, `review from ${shown(alert)}`, 18),
    declines && threshold("decline", last, `decline from ${shown(decline)}`, 34),
    s("line", { class: "pointer", x1: across(here), x2: across(here), y1: BAND_TOP - 10, y2: bottom + 4 }),
    s("circle", { class: "pointer", cx: across(here), cy: BAND_TOP - 10, r: 5 }),
    s("text", { class: "strong", x: across(here), y: BAND_TOP - 20, "text-anchor": anchorAt(here) }, shown(score)));
}

function zone(kind, from, to) {
  return s("rect", { class: `zone-${kind}`, x: across(from), y: BAND_TOP, width: across(Math.max(0, to - from)), height: BAND });
}

function threshold(kind, place, label, below) {
  return [
    s("line", { class: kind, x1: across(place), x2: across(place), y1: BAND_TOP, y2: BAND_TOP + BAND + below - 10 }),
    s("text", { class: kind, x: across(place), y: BAND_TOP + BAND + below, "text-anchor": anchorAt(place) }, label),
  ];
}

/**
 * How scores are spread, with the thresholds. Heights are logarithmic: frauds are few, and would not be seen otherwise.
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
  const bottom = BARS_TOP + HEIGHT;
  const above = alert === null ? "" : `, ${integer(scores.filter((each) => each >= alert).length)} at or above the alert threshold`;
  return s("svg", { class: "chart with-counts", height: bottom + 26, role: "img",
      "aria-label": `Histogram of ${integer(scores.length)} scores${above}` },
    gridLines(top, bottom),
    counts.map((count, place) => s("g", {},
      s("title", {}, `${integer(count)} with scores from ${shown(axis.at(place / BINS))} to ${
        shown(axis.at((place + 1) / BINS))}`),
      partsOf((place + 0.08) / BINS, (place + 0.92) / BINS, axis, alert, decline).map(({ kind, from, to }) =>
        s("rect", { class: kind, x: across(from), width: across(to - from), y: bottom - height(count), height: height(count) })))),
    s("line", { class: "axis", x1: 0, x2: "100%", y1: bottom, y2: bottom }),
    axis.ticks.map(({ position, label }) =>
      s("text", { x: across(position), y: bottom + 18, "text-anchor": anchorAt(position) }, label)),
    mark(axis, "alert", alert, "review", BARS_TOP - 4), mark(axis, "decline", decline, "decline", BARS_TOP - 20));
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
    s("line", { class: kind, x1: across(place), x2: across(place), y1: y + 3, y2: BARS_TOP + HEIGHT }),
    s("text", { class: kind, x: across(place), y, "text-anchor": anchorAt(place) }, `${word} from ${shown(value)}`),
  ];
}
