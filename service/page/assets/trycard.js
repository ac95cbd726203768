// A photo with what a model says of it, and where it looks. `state` holds all cards and the chosen model.
import { ask, query } from "./api.js";
import { parameters } from "./catalogue.js";
import { announce, button, h, notify } from "./dom.js";
import { heatCanvas } from "./heatmap.js";
import { labelsText, resultView } from "./results.js";
import { t } from "./text.js";

export const TOP_K = 5;

export function photoCard(file, state, asking, changed) {
  const url = URL.createObjectURL(file);
  const picture = h("img", { src: url, alt: file.name, decoding: "async", loading: "lazy" });
  const frame = h("div", { class: "photo" }, picture);
  const said = h("div", { class: "said" });
  const slider = h("input", { type: "range", min: 0, max: 1, step: 0.05, value: 0.65, "aria-label": t("heat.opacity") });
  const heat = h("div", { class: "heat", hidden: true }, h("span", {}, t("heat.photo")), slider, h("span", {}, t("heat.map")));
  const card = { file, remove, classify };
  let result;
  let asked = 0;
  let looking;
  slider.addEventListener("input", () => frame.style.setProperty("--heat", slider.value));
  picture.addEventListener("error", () => picture.replaceWith(h("p", { class: "unshown soft" }, t("photos.unshown", { name: file.name }))));
  const away = button("×", remove, { class: "away", "aria-label": t("try.remove", { name: file.name }) });
  card.element = h(
    "li", { class: "card" },
    frame, h("div", { class: "card-text" }, h("p", { class: "name soft small" }, file.name), said, heat), away,
  );

  function remove() {
    URL.revokeObjectURL(url);
    state.cards.delete(card);
    card.element.remove();
    changed();
  }

  function form() {
    const body = new FormData();
    body.append("image", file);
    return body;
  }

  async function classify() {
    const turn = (asked += 1);
    forgetHeat();
    said.replaceChildren(h("p", { class: "waiting soft" }, t("try.asking")));
    const address = `v1/classify${query({ ...parameters(state.choice), top_k: TOP_K })}`;
    const answer = await asking(() => ask(address, { method: "POST", body: form() })).catch((error) => error.body?.results ? error.body : { results: [{ error }] });
    if (turn !== asked) return;
    [result] = answer.results;
    show();
    const label = result.labels ? labelsText(result) : result.predictions?.[0]?.label;
    if (label) announce(t(result.rejected ? "try.announce_none" : "try.announce", { name: file.name, label }));
  }

  function show(picked) {
    const explain = result.predictions ? look : undefined;
    const focused = [...said.querySelectorAll("button")].indexOf(document.activeElement);
    said.replaceChildren(resultView(result, { pick: explain, picked }));
    if ("value" in result) said.append(button(t("heat.show"), () => look(), { "aria-pressed": String(Boolean(looking)) }));
    if (focused >= 0) said.querySelectorAll("button")[focused]?.focus();
  }

  function forgetHeat() {
    frame.querySelector("canvas")?.remove();
    heat.hidden = true;
    looking = undefined;
  }

  async function look(one = { id: "value" }) {
    const again = looking === one.id;
    forgetHeat();
    if (again) return show();
    looking = one.id;
    show(one.id);
    const turn = asked;
    const values = { ...parameters(state.choice), format: "json", class: one.label ? one.id : undefined };
    try {
      const explained = await ask(`v1/explain${query(values)}`, { method: "POST", body: form() });
      if (turn !== asked || looking !== one.id) return undefined;
      const canvas = heatCanvas(explained, explained.classes[0]);
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", t("heat.of", { label: explained.classes[0].label }));
      frame.append(canvas);
      frame.style.setProperty("--heat", slider.value);
      heat.hidden = false;
      announce(t(explained.classes[0].peak ? "heat.of" : "heat.nothing", { label: explained.classes[0].label }));
      if (!explained.classes[0].peak) notify(t("heat.nothing", { label: explained.classes[0].label }));
    } catch (error) {
      if (looking === one.id) forgetHeat();
      show();
      notify(error.message, true);
    }
    return undefined;
  }
  return card;
}
