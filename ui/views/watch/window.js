// What the charts over time have in common.
import { dateTime } from "../../format.js";

/** The axis of a window, with what happened in it. */
export function timeAxis({ since, until, moments }) {
  return { min: Date.parse(since), max: Date.parse(until), time: true, moments };
}

/** Buckets as [{from, to, middle, bucket}], in milliseconds. */
export function spans({ buckets, bucket_seconds: seconds }) {
  return buckets.map((bucket) => {
    const from = Date.parse(bucket.since);
    return { from, to: from + seconds * 1000, middle: from + seconds * 500, bucket };
  });
}

/** A number somewhat above all of these; at least 1, so that counts have whole ticks. */
export function top(values) {
  return Math.max(1, ...values) * 1.08;
}

/** When a bucket begins, for a table. */
export function beginning(from) {
  return dateTime(new Date(from).toISOString());
}

