// What a model says of a photo, as bars or as a number.
import { h } from "./dom.js";
import { percent, significant, t } from "./text.js";

// `pick`, where it is given, is called with the label of a class that somebody chooses; `picked` is the one chosen.
export function resultView(result, { pick, picked } = {}) {
  if (result.error) return h("p", { class: "failed" }, result.error.message);
  if ("value" in result) return valueView(result);
  const [first] = result.predictions;
  const parts = [];
  if (result.labels) parts.push(h("p", { class: result.labels.length ? "verdict-line" : "verdict-line none" }, h("strong", {}, labelsText(result))));
  else if (result.rejected) parts.push(h("p", { class: "verdict-line none" }, h("strong", {}, t("result.none")), " ", t("result.none_like")));
  else parts.push(h("p", { class: "verdict-line" }, h("strong", {}, first.label), " ", percent(first.probability)));
  parts.push(h("ol", { class: "bars" }, ...result.predictions.map((one) => bar(one, pick, one.id === picked))));
  return h("div", { class: result.rejected ? "result rejected" : "result" }, ...parts);
}

// The labels that hold on a photo, where several may.
export function labelsText({ labels }) {
  return labels.length ? labels.join(", ") : t("result.no_label");
}

function bar(one, pick, picked) {
  const inside = [
    h("span", { class: "bar-name", title: pick ? undefined : one.label }, one.label),
    h("span", { class: "bar-share" }, percent(one.probability), holdsFrom(one)),
    h("span", { class: "bar-line", style: { "--share": one.probability } }),
  ];
  if (!pick) return h("li", { class: "bar-row" }, ...inside);
  const choose = { click: () => pick(one) };
  const title = t("result.where", { label: one.label });
  return h("li", {}, h("button", { type: "button", class: "bar-row", "aria-pressed": String(picked), title, on: choose }, ...inside));
}

function holdsFrom({ threshold }) {
  return threshold === undefined ? "" : h("span", { class: "soft" }, ` ${t("result.holds_from", { share: percent(threshold, 0) })}`);
}

function valueView({ value, unit, interval, coverage }) {
  const parts = [h("p", { class: "value" }, h("strong", {}, significant(value)), unit ? ` ${unit}` : "")];
  if (interval) {
    const [low, high] = interval.map((bound) => significant(bound));
    const text = coverage ? t("result.interval", { low, high, share: percent(coverage, 0) }) : t("result.bounds", { low, high });
    parts.push(h("p", { class: "soft" }, text));
  }
  return h("div", { class: "result" }, ...parts);
}
