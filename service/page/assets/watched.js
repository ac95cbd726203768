// Drift and shadow of a model, where the service watches for them.
import { askIfThere, path } from "./api.js";
import { h } from "./dom.js";
import { hasRoute } from "./routes.js";
import { moment, significant, t } from "./text.js";

const MOMENTS = new Set(["since", "ended", "at"]);
const PARTS = ["drift", "shadow"];
const TAGS = new Set(["alarm", "mixed"]); // states that somebody should look at

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

// In a sentence, with what was measured behind it, where something was.
function view(key, part, { sentence, state, model, version, last_alarm: earlier, ...measured }) {
  const of = version === null || state === "none" ? "" : h("span", { class: "soft" }, t("watched.version", { version: String(version) }));
  const tag = TAGS.has(state) ? h("span", { class: "tag warn" }, t(`watched.${state}`)) : "";
  const figures = h("details", { "data-key": key }, h("summary", {}, t("watched.figures")), facts({ ...measured, last_alarm: earlier?.number === measured.last?.number ? null : earlier }));
  return h(
    "div", { class: "small", role: "group", "aria-label": t(`watched.${part}`) },
    h("h3", {}, t(`watched.${part}`), " ", of, " ", tag), h("p", {}, sentence), state === "none" ? "" : figures,
  );
}

// What was measured, as it is told: names with numbers, lists as tables; what is empty is left out.
function facts(value, key) {
  if (value === null || typeof value !== "object") return typeof value === "number" ? significant(value) : MOMENTS.has(key) ? moment(value) : String(value);
  if (Array.isArray(value) && value.every((one) => typeof one !== "object")) return value.map(facts).join(", ");
  if (Array.isArray(value)) return table(value);
  const pairs = Object.entries(value).filter(([, one]) => !empty(one));
  return h("dl", { class: "pairs" }, ...pairs.map(([name, one]) => h("div", {}, h("dt", {}, title(name)), h("dd", {}, facts(one, name)))));
}

function table(rows) {
  const keys = Object.keys(rows[0]);
  const head = h("thead", {}, h("tr", {}, ...keys.map((key) => h("th", { scope: "col" }, title(key)))));
  const body = h("tbody", {}, ...rows.map((row) => h("tr", {}, ...keys.map((key) => h("td", { "data-column": title(key) }, facts(row[key], key))))));
  return h("div", { class: "frame", tabindex: "0", role: "group", "aria-label": keys.map(title).join(", ") }, h("table", { class: "stacks" }, head, body));
}

const title = (key) => key.replaceAll("_", " ");
const empty = (one) => one === null || one === "" || (typeof one === "object" && Object.values(one).every(empty));
