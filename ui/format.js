// Numbers, amounts and moments as people read them: in the browser's language and time zone. One rule for all views: scores
// and thresholds have three digits (0.590), percentages one decimal (85.0 %) and below one two (0.55 %), a transaction's amount
// its cents (€1,234.50), sums and costs none (€11,200), and shares of a few are counted (0 of 2).

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const compact = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const thousandths = new Intl.NumberFormat(undefined, { minimumFractionDigits: 3, maximumFractionDigits: 3 });
const three = new Intl.NumberFormat(undefined, { minimumSignificantDigits: 3, maximumSignificantDigits: 3 });
/** Of fewer a share is counted. */
export const FEW = 20;
const minute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
let [money, wholeMoney] = moneyIn("EUR");

function moneyIn(currency) {
  const style = { style: "currency", currency };
  return [style, { ...style, maximumFractionDigits: 0 }].map((options) => new Intl.NumberFormat(undefined, options));
}

/** Which currency amounts are in; app.js says so once. */
export function useCurrency(code) {
  [money, wholeMoney] = moneyIn(code);
}

/** 1234.5 as 1,234.50 with its currency: a contract's own, or the page's. */
export function amount(value, currency = "") {
  return (/^[A-Z]{3}$/.test(currency) ? moneyIn(currency)[0] : money).format(value);
}

/** A sum or an estimate, without its cents. */
export function total(value, currency = "") {
  return (/^[A-Z]{3}$/.test(currency) ? moneyIn(currency)[1] : wholeMoney).format(value);
}

/** 1234567 as 1,234,567. */
export function integer(value) {
  return whole.format(value);
}

/** 1234567 as 1.2M. */
export function short(value) {
  return compact.format(value);
}

/** A score or a threshold, always with three digits: 0.590. */
export function score(value) {
  if (value === 0 || value === 1) {
    return String(value);
  }
  return Math.abs(value) < 1e-4 ? value.toExponential(2) : three.format(value);
}

/** A figure without a unit, such as a PSI: 0.032. */
export function ratio(value) {
  return thousandths.format(value);
}

/** A number with some significant digits; very small and large ones as powers of ten. */
export function significant(value, digits = 3) {
  const text = value !== 0 && (Math.abs(value) < 1e-4 || Math.abs(value) >= 1e7)
    ? value.toExponential(digits - 1).replace(/\.?0*e\+?/, "e")
    : new Intl.NumberFormat(undefined, { maximumSignificantDigits: digits }).format(value);
  return text.replace(/^-/, "−");
}

/** 0.85 as 85.0 %, 0.0055 as 0.55 %; what is not 0 never shows as 0 %, what is not 1 never as 100 %. */
export function percent(value) {
  if (value === 0 || value === 1) {
    return `${value * 100} %`;
  }
  if (value > 0 && value < 1e-6) {
    return "< 0.0001 %";
  }
  const [least, most] = value > 0 && value < 0.001 ? [0, 4] : value > 0.999 && value < 1 ? [3, 3]
    : value > 0 && value < 0.01 ? [2, 2] : [1, 1];
  const digits = { minimumFractionDigits: least, maximumFractionDigits: most };
  return `${new Intl.NumberFormat(undefined, digits).format(value * 100)} %`;
}

/** A part of a whole: "0 of 2" of a few, else a percentage. */
export function part(count, whole) {
  return whole < FEW ? `${integer(count)} of ${integer(whole)}` : percent(count / whole);
}

/** A field's or feature's value of whatever type. */
export function valueOf(value, digits = 4) {
  if (value === null || value === undefined) {
    return "missing";
  }
  return typeof value === "number" ? significant(value, digits) : typeof value === "boolean" ? (value ? "yes" : "no") : value;
}

/** An ISO moment, in local time. */
export function dateTime(iso) {
  return moment.format(new Date(iso));
}

/** The same without its seconds. */
export function dateMinute(iso) {
  return minute.format(new Date(iso));
}

/** How long ago an ISO moment was, shortly: 40 s, 5 min, 3 h, 2 d. */
export function age(iso) {
  const seconds = Math.max(0, (Date.now() - Date.parse(iso)) / 1000);
  const [value, unit] = seconds < 60 ? [seconds, "s"] : seconds < 3600 ? [seconds / 60, "min"]
    : seconds < 86_400 ? [seconds / 3600, "h"] : [seconds / 86_400, "d"];
  return `${Math.floor(value)}\u00a0${unit}`; // which no line breaks
}

/** 90 as 1 min 30 s; 0.25 as 0.3 s. */
export function duration(seconds) {
  if (seconds < 60) {
    return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  }
  const all = Math.round(seconds);
  return `${Math.floor(all / 60)} min ${all % 60} s`;
}

/** 1500000 as 1.5 MB. */
export function bytes(count) {
  const step = count < 1e3 ? 0 : count < 1e6 ? 1 : count < 1e9 ? 2 : 3;
  return `${(count / 1000 ** step).toFixed(step < 2 ? 0 : 1)} ${["B", "kB", "MB", "GB"][step]}`;
}
