// What a transaction consists of, as GET /features says; here too, so that the form needs no key.
const COMPONENTS = Array.from({ length: 28 }, (_, place) => `V${place + 1}`);

/** The 30 raw fields, in the order of the data set's columns. */
export const RAW_FIELDS = ["Time", ...COMPONENTS, "Amount"];

/** Optional fields. */
export const NAMING_FIELDS = ["transaction_id", "event_time"];

export { COMPONENTS };
