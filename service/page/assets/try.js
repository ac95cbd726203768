// Try: photos in, what a model says of them out.
import { takePhoto } from "./camera.js";
import { choices, models, onModels, parameters } from "./catalogue.js";
import { button, field, h, notify, pool, select } from "./dom.js";
import { chooser, leftOut, pasted, takesDrops } from "./photos.js";
import { recipe, recipeView } from "./recipe.js";
import { t } from "./text.js";
import { photoCard, TOP_K } from "./trycard.js";

const MOST = 300; // photos on the page at once
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
  const clear = button(t("try.clear"), () => [...state.cards].forEach((card) => card.remove()), { hidden: true, class: "clear" });
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
    enter([name]) {
      document.addEventListener("paste", paste);
      const before = state.choice;
      if (name) state.choice = JSON.stringify({ model: name });
      if (state.choice !== before) for (const card of state.cards) card.classify();
      models().then(offer, (error) => notify(error.message, true));
    },
    leave: () => document.removeEventListener("paste", paste),
  };
}
