// The lines that do outside of the page what it just did: with curl, and with Python.
import { token } from "./api.js";
import { button, h, notify } from "./dom.js";
import { t } from "./text.js";

const shell = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
// In the file names of a form, curl reads quotes, and ends at a comma or semicolon outside of them.
const formFile = (name) => (/[",;\\]/.test(name) ? `image=@"${name.replace(/(["\\])/g, "\\$1")}"` : `image=@${name}`);
const python = (value) => JSON.stringify(value);

export function recipe(address, names, values) {
  const base = document.baseURI.replace(/[#?].*$/, "").replace(/\/$/, "");
  const url = `${base}/${address}`;
  const asked = Object.keys(values).length ? `${url}?${new URLSearchParams(values)}` : url;
  const files = names.map((name) => `-F ${shell(formFile(name))}`);
  const bearer = token.get() ? ['-H "Authorization: Bearer $TOKEN"'] : [];
  const curl = ["curl", ...bearer, ...files, shell(asked)].join(" ");
  const told = token.get() ? ['    headers={"Authorization": "Bearer " + os.environ["TOKEN"]},'] : [];
  const parameters = Object.entries(values).map(([key, value]) => `${python(key)}: ${python(value)}`);
  const lines = [
    ...(token.get() ? ["import os", ""] : []),
    "import requests",
    "",
    `names = [${names.map(python).join(", ")}]`,
    "answer = requests.post(",
    `    ${python(url)},`,
    `    params={${parameters.join(", ")}},`,
    '    files=[("image", (name, open(name, "rb"))) for name in names],',
    ...told,
    ")",
    'for result in answer.json()["results"]:',
    "    print(result)",
  ];
  return { curl, python: lines.join("\n") };
}

export function recipeView({ curl, python: lines }) {
  return h("div", { class: "recipes" }, block(t("recipe.curl"), curl), block(t("recipe.python"), lines));
}

function block(title, text) {
  const copy = async () => {
    await navigator.clipboard.writeText(text).then(() => notify(t("recipe.copied")), (error) => notify(error.message, true));
  };
  return h(
    "figure", { class: "code" },
    h("figcaption", {}, title, button(t("recipe.copy"), copy, { "aria-label": t("recipe.copy_what", { what: title }) })),
    h("pre", { tabindex: "0", role: "region", "aria-label": title }, h("code", {}, text)),
  );
}
