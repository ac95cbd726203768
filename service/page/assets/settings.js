// How a network is taught: the settings of `graft finetune`, by their names, as the service describes them.
import { field, h, select } from "./dom.js";
import { bytes, t } from "./text.js";

const APART = new Set(["model", "method"]); // shown above the others

export function settingsView(abilities, dataset) {
  const note = h("p", { class: "soft small" });
  const networks = abilities.backbones.map((one) => [one.name, one.here ? one.name : t("settings.download", { name: one.name, size: one.bytes ? bytes(one.bytes) : "" })]);
  const network = select(networks, networks[0]?.[0], tell);
  const methods = abilities.methods.map((name) => [name, t(`method.${name}`)]);
  const method = select(methods, abilities.settings.method?.default ?? methods[0][0], tell);
  const name = h("input", { type: "text", maxlength: 80, value: dataset.facts.name });
  const others = Object.entries(abilities.settings).filter(([key]) => !APART.has(key)).map(([key, schema]) => [key, control(schema), schema]);
  const more = h(
    "details", {}, h("summary", {}, t("settings.more")),
    h("div", { class: "settings" }, ...others.map(([key, one, schema]) => field(key.replaceAll("_", " "), one, schema.description))),
  );
  const element = h("div", {}, h("div", { class: "row choosing" }, field(t("settings.name"), name), field(t("settings.network"), network), field(t("settings.method"), method)), note, more);

  function tell() {
    note.textContent = abilities.backbones.find((one) => one.name === network.value)?.note ?? "";
  }
  tell();
  return {
    element,
    // As the service takes them; what nobody has touched is left to it.
    values() {
      const touched = others.filter(([, one]) => one.value !== "").map(([key, one, schema]) => [key, read(one.value, schema)]);
      return { name: name.value.trim() || dataset.facts.name, model: network.value, method: method.value, ...Object.fromEntries(touched) };
    },
  };
}

const kinds = (schema) => [schema, ...(schema.anyOf ?? [])].flatMap((one) => one.type ?? []);

function control(schema) {
  const unset = schema.default === undefined || schema.default === null ? t("settings.unset") : t("settings.default", { value: JSON.stringify(schema.default) });
  const options = schema.enum ?? (kinds(schema).includes("boolean") ? [true, false] : undefined);
  if (options) return select([["", unset], ...options.map((one) => [JSON.stringify(one), String(one)])], "", () => {});
  const numeric = kinds(schema).some((kind) => kind === "integer" || kind === "number");
  return h("input", { type: numeric ? "number" : "text", step: kinds(schema).includes("integer") ? 1 : "any", min: schema.minimum, max: schema.maximum, placeholder: unset });
}

function read(text, schema) {
  if (schema.enum || kinds(schema).includes("boolean")) return JSON.parse(text);
  if (kinds(schema).includes("array")) return text.split(/[\s,]+/).filter(Boolean);
  return kinds(schema).some((kind) => kind === "integer" || kind === "number") ? Number(text) : text;
}
