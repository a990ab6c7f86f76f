// What is beyond a limit in a window, in the words of `python -m pipelines monitor`.
import { percent, ratio } from "../../format.js";

const SHARES = { alerts: "alert share", declines: "decline share" };

/** @returns {{name: string, words: string}[]} breaches, shares of decisions first */
export function breachesOf({ shares, drift }) {
  return [
    ...shares.filter(({ breached }) => breached).map((share) => ({ name: share.name, words: shareWords(share) })),
    ...(drift?.features ?? []).filter(({ breached }) => breached).flatMap(featureBreaches),
  ];
}

/** "alert share 1.4 %, limit 0.8 %" */
export function shareWords({ name, value, low, high }) {
  return `${SHARES[name]} ${percent(value)} ${limitWords(value > high ? `≤ ${percent(high)}` : `≥ ${percent(low)}`)}`;
}

/** A limit in brackets, which no line breaks. */
function limitWords(limit) {
  return `(limit ${limit})`.replaceAll(" ", "\u00a0");
}

/** Which figures of a feature are beyond their limits. */
export function overOf(feature) {
  return [
    ["PSI", feature.psi, feature.limit, ratio],
    ["KS", feature.ks, feature.ks_limit, ratio],
    ["out of range", feature.out_of_range, feature.out_of_range_limit, percent],
    ["missing", feature.missing, feature.missing_limit, percent],
    ["other", feature.other, feature.other_limit, percent],
  ].filter(([, value, limit]) => limit !== null && value > limit);
}

function featureBreaches(feature) {
  return overOf(feature).map(([figure, value, limit, format]) => ({
    name: feature.name, words: `${figure} of ${feature.name} ${format(value)} ${limitWords(`≤ ${format(limit)}`)}`,
  }));
}
