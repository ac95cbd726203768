"use strict";
const form = document.querySelector("#try form");
const state = document.querySelector("#try .state");
const results = document.querySelector("#try .results");

function element(name, text, parent) {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

function headers() {
  const token = form.elements.token.value.trim();
  return token ? { Authorization: "Bearer " + token } : {};
}

async function answer(address, options) {
  const response = await fetch(address, options);
  const body = await response.json();
  if (!response.ok && !body.results) throw new Error(body.error.message);
  return body;
}

function show(file, result) {
  const card = element("div", "", results);
  card.className = "result";
  const picture = element("img", "", card);
  picture.alt = file.name;
  picture.src = URL.createObjectURL(file);
  picture.onload = () => URL.revokeObjectURL(picture.src);
  picture.onerror = () => picture.remove();
  const list = element("ol", "", card);
  if (result.error) element("li", result.error.message, list);
  if (result.rejected) element("li", "none of the classes; most like:", list);
  if ("value" in result) element("li", [result.value, result.unit].filter(Boolean).join(" "), list);
  for (const one of result.predictions || []) {
    const line = element("li", "", list);
    element("span", one.label, line);
    element("span", (100 * one.probability).toFixed(1) + " %", line);
    element("meter", "", line).value = one.probability;
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const files = [...form.elements.photos.files];
  const query = new URLSearchParams({ top_k: form.elements.top_k.value });
  if (form.elements.model.value) query.set("model", form.elements.model.value);
  const body = new FormData();
  for (const file of files) body.append("image", file);
  const button = form.querySelector("button");
  button.disabled = true;
  state.classList.remove("failed");
  state.textContent = "asking ...";
  results.replaceChildren();
  try {
    const began = performance.now();
    const reply = await answer("v1/classify?" + query, { method: "POST", body, headers: headers() });
    state.textContent = reply.model + ", " + Math.round(performance.now() - began) + " ms";
    reply.results.forEach((result, i) => show(files[i], result));
  } catch (error) {
    state.classList.add("failed");
    state.textContent = error.message;
  } finally {
    button.disabled = false;
  }
});

async function models() {
  try {
    const reply = await answer("v1/models", { headers: headers() });
    const ready = reply.models.filter((model) => model.state === "ready" && model.task !== "features");
    const names = [...new Set(ready.map((model) => model.name))];
    const menu = form.elements.model;
    const chosen = menu.value;
    menu.replaceChildren(new Option(reply.default, ""), ...names.filter((n) => n !== reply.default).map((n) => new Option(n)));
    menu.value = names.includes(chosen) ? chosen : "";
  } catch {
    // A token is needed; its field asks again.
  }
}
form.elements.token.addEventListener("change", models);
models();
