// Where a score stands on a line from 0 to 1: linear, or logarithmic where the thresholds lie near 0.
import { significant } from "../format.js";

const LINEAR_FROM = 0.05;
const DECADES_BELOW = 3;

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
