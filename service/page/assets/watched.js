// Drift and shadow of a model, where the service watches for them.
import { askIfThere, path } from "./api.js";
import { h } from "./dom.js";
import { hasRoute } from "./routes.js";
import { significant, t } from "./text.js";

const PARTS = ["drift", "shadow"];

export function watchedView(name) {
  const element = h("div", { class: "watched" });
  for (const part of PARTS) {
    const place = h("div");
    element.append(place);
    told(name, part).then(
      (report) => report && place.append(view(`${name}/${part}`, part, report)),
      (error) => place.append(h("p", { class: "soft small" }, `${t(`watched.${part}`)}: ${error.message}`)),
    );
  }
  return element;
}

async function told(name, part) {
  return (await hasRoute(`/v1/models/{name}/${part}`)) ? askIfThere(`v1/models/${path(name, part)}`) : undefined;
}

// In a sentence, with what was measured behind it.
function view(key, part, { sentence, state, model, version, ...measured }) {
  const alarm = state === "alarm" ? h("span", { class: "tag warn" }, t("watched.alarm")) : "";
  return h(
    "div", { class: "small" },
    h("p", {}, h("strong", {}, t(`watched.${part}`)), " ", alarm, sentence ?? ""),
    h("details", { "data-key": key }, h("summary", {}, t("watched.figures")), facts(measured)),
  );
}

// What was measured, as it is told: names and numbers, lists as tables.
function facts(value) {
  if (value === null || typeof value !== "object") return typeof value === "number" ? significant(value) : String(value ?? "–");
  if (Array.isArray(value) && value.every((one) => one === null || typeof one !== "object")) return value.map(facts).join(", ") || "–";
  if (Array.isArray(value)) {
    const keys = [...new Set(value.flatMap(Object.keys))];
    const cells = (one) => keys.map((key) => h("td", {}, facts(one[key])));
    return h("div", { class: "frame", tabindex: "0", role: "region", "aria-label": keys.join(", ") }, h("table", {}, h("thead", {}, h("tr", {}, ...keys.map((key) => h("th", { scope: "col" }, key.replaceAll("_", " "))))), h("tbody", {}, ...value.map((one) => h("tr", {}, ...cells(one))))));
  }
  return h("dl", {}, ...Object.entries(value).map(([key, one]) => [h("dt", {}, key.replaceAll("_", " ")), h("dd", {}, facts(one))]));
}
