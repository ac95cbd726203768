// The models that are served: asked for once, and again when something has changed them.
import { ask } from "./api.js";
import { t } from "./text.js";

let known;
const listeners = new Set();

export const onModels = (listener) => listeners.add(listener);

// Whoever waits while they are asked for again gets the answer that was asked for last.
export async function models(fresh = false) {
  if (fresh || !known) known = ask("v1/models");
  const mine = known;
  try {
    const list = await mine;
    if (mine === known) return list;
  } catch (error) {
    if (mine !== known) return models();
    known = undefined;
    throw error;
  }
  return models();
}

// Something has changed what is served.
export async function modelsChanged() {
  const list = await models(true);
  for (const listener of listeners) listener(list);
}

// Each way to name a version that answers, as [value, text]: a model, its labels, its versions.
export function choices({ models: rows, default: first }) {
  const ready = rows.filter((row) => row.state === "ready" && row.task !== "features");
  const names = [...new Set(ready.map((row) => row.name))].sort((a, b) => (b === first) - (a === first));
  return names.flatMap((name) => {
    const versions = ready.filter((row) => row.name === name);
    const options = [[address(name), name]];
    for (const [label, version] of Object.entries(versions[0].labels))
      options.push([address(name, { label }), t("model.labelled", { name, label, version: String(version) })]);
    if (versions.length > 1)
      for (const { version } of versions)
        options.push([address(name, { version }), t("model.version", { name, version: String(version) })]);
    return options;
  });
}

const address = (name, which = {}) => JSON.stringify({ model: name, ...which });

export const parameters = (choice) => (choice ? JSON.parse(choice) : {});
