// Scales, ticks and the frame that every chart with two axes is drawn into. Sizes are pixels: text never shrinks.
import { s } from "../dom.js";
import { significant } from "../format.js";

const MARGIN = { top: 12, right: 24, bottom: 24, left: 58 };
const TITLE = 16;
const MARKED = 14;
const LETTER = 7;
const BESIDE = 12;
const LINE = 14;
const MINUTE = 60_000;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 5760, 10_080].map((step) => step * MINUTE);
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const date = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });

/** A function from values to pixels. */
export function scale({ min, max, log }, from, to) {
  const place = log ? (value) => Math.log10(Math.max(value, min)) : (value) => value;
  const low = place(min);
  const span = place(max) - low || 1;
  return (value) => from + ((place(value) - low) / span) * (to - from);
}

/** Round values between two ends, about `count` of them. */
export function ticks({ min, max, log, time, whole }, count) {
  if (log) {
    return decades(min, max, count);
  }
  const span = max - min || 1;
  const rough = roundStep(span / count);
  const step = time ? STEPS.find((each) => span / each <= count) || STEPS.at(-1) : whole ? Math.max(1, rough) : rough;
  const shift = time ? new Date(min).getTimezoneOffset() * MINUTE : 0; // round in local time
  const found = [];
  for (let at = Math.ceil((min - shift) / step) * step + shift; at <= max + step * 1e-9; at += step) {
    found.push(Math.abs(at) < step * 1e-9 ? 0 : at);
  }
  return found;
}

/** A moment (milliseconds) as an axis shows it. */
export function clockTime(value) {
  const midnight = new Date(value).getHours() === 0 && new Date(value).getMinutes() === 0;
  return midnight ? date.format(value) : clock.format(value);
}

/**
 * An SVG with grid, axes and labels, and the scales to draw into it.
 * @param {string} label what the chart shows, for those who cannot see it
 * @param {number} width in pixels
 * @param {number} height in pixels
 * @param {Object} x {min, max, log?, time?, whole?, label, format?, moments?}; `whole`: counts, whose ticks are whole numbers;
 *   `moments`: [{x, kind, name}], lines down the chart, named above it
 * @param {Object} y the same without moments
 * @param {string[]} beside names of lines across, which stand to the right of the plot
 */
export function frame(label, width, height, x, y, beside = []) {
  const [left, right] = [MARGIN.left, width - Math.max(MARGIN.right, ...beside.map((name) => name.length * LETTER + BESIDE))];
  const moments = (x.moments ?? []).filter((each) => each.x >= x.min && each.x <= x.max);
  const [top, bottom] = [MARGIN.top + (moments.length > 0 ? MARKED : 0), height - MARGIN.bottom - (x.label ? TITLE : 0)];
  const [sx, sy] = [scale(x, left, right), scale(y, bottom, top)];
  const format = (axis) => axis.format || (axis.time ? clockTime : (value) => significant(value, 3));
  const across = ticks(x, Math.max(2, Math.floor((right - left) / 80)));
  const up = ticks(y, Math.max(2, Math.floor((bottom - top) / 44)));
  const svg = s("svg", { class: "chart", role: "img", "aria-label": label, viewBox: `0 0 ${width} ${height}`, width, height },
    up.map((value) => [
      s("line", { class: "grid", x1: left, x2: right, y1: sy(value), y2: sy(value) }),
      s("text", { x: left - 8, y: sy(value) + 4, "text-anchor": "end" }, format(y)(value)),
    ]),
    s("line", { class: "axis", x1: left, x2: right, y1: bottom, y2: bottom }),
    across.map((value) => [
      s("line", { class: "axis", x1: sx(value), x2: sx(value), y1: bottom, y2: bottom + 4 }),
      s("text", { x: sx(value), y: bottom + 17, "text-anchor": "middle" }, format(x)(value)),
    ]),
    x.label && s("text", { class: "title", x: (left + right) / 2, y: height - 4, "text-anchor": "middle" }, x.label));
  const plot = { svg, sx, sy, left, right, top, bottom };
  named(moments, plot).forEach((part) => svg.append(part));
  return plot;
}

/** Lines down at moments; names that would run into the one before are left to its title. */
function named(moments, { sx, right, top, bottom }) {
  let free = -Infinity;
  return [...moments].sort((a, b) => a.x - b.x).map(({ x, kind, name }) => {
    const at = sx(x);
    const room = name.length * LETTER;
    const start = Math.min(at - 3, right - room);
    const shown = start >= free;
    free = shown ? start + room + 6 : free;
    return s("g", {}, s("title", {}, name), s("line", { class: `mark ${kind}`, x1: at, x2: at, y1: top - 4, y2: bottom }),
      shown && s("text", { class: kind, x: start, y: top - 8 }, name));
  });
}

/** Lines down the plot, and across it with a name at their right end, where no curve runs through it. */
export function thresholds({ svg, sx, sy, left, right, top, bottom }, marks) {
  let free = top;
  const down = marks.filter(({ y }) => y === undefined);
  const across = marks.filter(({ y }) => y !== undefined).sort((a, b) => sy(a.y) - sy(b.y));
  svg.append(...down.map(({ x, kind }) => s("line", { class: `mark ${kind}`, x1: sx(x), x2: sx(x), y1: top, y2: bottom })),
    ...across.flatMap(({ y, kind, name }) => {
      const at = Math.max(sy(y) + 4, free);
      free = at + LINE;
      return [s("line", { class: `mark ${kind}`, x1: left, x2: right, y1: sy(y), y2: sy(y) }),
        s("text", { class: `${kind} beside`, x: right + BESIDE / 2, y: at }, name)];
    }));
}

function decades(min, max, count) {
  const [low, high] = [Math.ceil(Math.log10(min) - 1e-9), Math.floor(Math.log10(max) + 1e-9)];
  const step = Math.max(1, Math.ceil((high - low) / count));
  const found = [];
  for (let power = low; power <= high; power += step) {
    found.push(10 ** power);
  }
  return found;
}

function roundStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999) * power;
}
