// Texts and numbers as people read them. What the page says stands in strings.js alone.
import strings from "./strings.js";

const language = document.documentElement.lang || "en";
const plurals = new Intl.PluralRules(language);
const whole = new Intl.NumberFormat(language);

// The text of a key, its {places} filled. With `count`, the form of the key that fits the number: key.one, key.other.
export function t(key, values = {}) {
  const exact = "count" in values ? `${key}.${plurals.select(values.count)}` : key;
  const text = strings[exact] ?? strings[`${key}.other`] ?? strings[key];
  if (text === undefined) throw new Error(`strings.js has no ${key}`);
  return text.replace(/{(\w+)}/g, (place, name) => {
    const value = values[name] ?? place;
    return typeof value === "number" ? whole.format(value) : value;
  });
}

export const percent = (share, digits = 1) => t("unit.percent", { value: (100 * share).toFixed(digits) });

export function bytes(count) {
  const units = ["unit.b", "unit.kb", "unit.mb", "unit.gb"];
  let step = 0;
  while (count >= 1000 && step < units.length - 1) {
    count /= 1000;
    step += 1;
  }
  return t(units[step], { value: count.toFixed(step && count < 100 ? 1 : 0) });
}

export function duration(seconds) {
  if (seconds < 1) return t("unit.ms", { value: (1000 * seconds).toFixed(seconds < 0.01 ? 1 : 0) });
  if (seconds < 90) return t("unit.s", { value: Math.round(seconds).toString() });
  return t("unit.min", { value: Math.round(seconds / 60).toString() });
}

export function significant(value, digits = 4) {
  if (value !== 0 && Math.abs(value) < 1e-4) return value.toExponential(1);
  return value === 0 ? "0" : Number(value.toPrecision(digits)).toLocaleString(language, { maximumSignificantDigits: digits });
}

export function moment(value) {
  const date = new Date(typeof value === "number" ? 1000 * value : value);
  return date.toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
}
