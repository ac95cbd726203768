// Try: photos in, what a model says of them out.
import { ask, query } from "./api.js";
import { takePhoto } from "./camera.js";
import { choices, models, onModels, parameters } from "./catalogue.js";
import { announce, button, field, h, notify, pool, select } from "./dom.js";
import { heatCanvas } from "./heatmap.js";
import { chooser, leftOut, pasted, takesDrops } from "./photos.js";
import { recipe, recipeView } from "./recipe.js";
import { resultView } from "./results.js";
import { t } from "./text.js";

const MOST = 300; // photos on the page at once
const TOP_K = 5;
const ASKED_AT_ONCE = 4;

export function tryView() {
  const state = { cards: new Set(), choice: "" };
  const element = h("section", { class: "view try", "aria-labelledby": "try-title" });
  const grid = h("ul", { class: "cards", "aria-label": t("try.photos") });
  const lines = h("details", { class: "lines", hidden: true }, h("summary", {}, t("recipe.title")));
  const picker = select([["", t("try.loading")]], "", (choice) => {
    state.choice = choice;
    for (const card of state.cards) card.classify();
    writeLines();
  });
  const take = ({ photos, others }) => add(photos.map(({ file }) => file), others);
  const zone = h(
    "div", { class: "drop" },
    h("p", { class: "drop-call" }, t("try.drop")),
    h("div", { class: "row" }, ...chooser(t("photos.choose"), take, { primary: true }), button(t("photos.shoot"), shoot)),
    h("p", { class: "soft small" }, t("try.paste")),
  );
  const clear = button(t("try.clear"), () => [...state.cards].forEach((card) => card.remove()), { hidden: true });
  element.append(
    h("h1", { id: "try-title" }, t("try.title")),
    h("p", { class: "lead" }, t("try.lead")),
    h("div", { class: "row choosing" }, field(t("try.model"), picker), clear),
    zone, grid, lines,
  );
  takesDrops(element, take);

  const asking = pool(ASKED_AT_ONCE);

  async function shoot() {
    try {
      const photo = await takePhoto();
      if (photo) add([photo]);
    } catch (error) {
      notify(error.message, true);
    }
  }

  function add(files, others = 0) {
    const room = MOST - state.cards.size;
    const kept = files.slice(0, room);
    const told = [leftOut(others), files.length > room ? t("try.too_many", { most: MOST, count: files.length - room }) : ""];
    if (told.some(Boolean)) notify(told.filter(Boolean).join(" "), true);
    for (const file of kept) {
      const card = photoCard(file, state, asking, changed);
      state.cards.add(card);
      grid.append(card.element);
      card.classify();
    }
    changed();
  }

  function changed() {
    grid.classList.toggle("single", state.cards.size === 1);
    element.classList.toggle("filled", state.cards.size > 0);
    clear.hidden = state.cards.size === 0;
    writeLines();
  }

  function writeLines() {
    const names = [...state.cards].slice(0, 3).map((card) => card.file.name);
    lines.hidden = !names.length;
    lines.querySelector(".recipes")?.remove();
    if (names.length) lines.append(recipeView(recipe("v1/classify", names, { ...parameters(state.choice), top_k: String(TOP_K) })));
  }

  function offer(list) {
    const options = choices(list);
    const before = state.choice;
    picker.replaceChildren(...options.map(([value, text]) => h("option", { value }, text)));
    picker.disabled = !options.length;
    if (!options.length) picker.append(h("option", { value: "" }, t("try.no_model")));
    state.choice = options.some(([value]) => value === before) ? before : (options[0]?.[0] ?? "");
    picker.value = state.choice;
    if (before && before !== state.choice) for (const card of state.cards) card.classify();
    writeLines();
  }
  onModels(offer);

  const paste = (event) => {
    const files = pasted(event);
    if (!files.length || element.hidden) return;
    event.preventDefault();
    add(files);
  };
  return {
    element,
    enter() {
      document.addEventListener("paste", paste);
      models().then(offer, (error) => notify(error.message, true));
    },
    leave: () => document.removeEventListener("paste", paste),
    use(choice) {
      state.choice = choice;
      picker.value = choice;
    },
  };
}

function photoCard(file, state, asking, changed) {
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
    const first = result.predictions?.[0];
    if (first) announce(t(result.rejected ? "try.announce_none" : "try.announce", { name: file.name, label: first.label }));
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
