// The photos of a class, as small pictures in rows. Only those in sight are elements, however many there are.
import { h } from "./dom.js";
import { picture } from "./pictures.js";
import { t } from "./text.js";

const LEAST = 68; // pixels of a picture's side
const GAP = 4;
const ROWS = 4; // in sight, at most
const PAGE = 200; // facts asked for at once
const SPARE = 1; // rows above and below what is in sight

// `open(image, index)` is called for one that people choose, `remove(image)` for one that they delete.
export function strip(dataset, name, { open, remove }) {
  const list = h("div", { role: "list", class: "strip-list" });
  const element = h("div", { class: "strip", hidden: true }, list);
  let pages = new Map();
  let count = 0;
  let revision;
  let inspected; // the revision that flags are of: they come later than the photos of a large dataset
  let columns = 1;
  let cell = LEAST + GAP; // pixels from one to the next; a row fills the width
  let current = 0; // the one that Tab reaches
  let drawn = "";

  async function load(page) {
    const mine = pages;
    if (!mine.has(page)) mine.set(page, []);
    try {
      mine.set(page, (await dataset.images(name(), page * PAGE, PAGE)).images);
    } catch {
      if (!mine.get(page).length) mine.delete(page); // asked again when somebody scrolls
    }
    if (mine === pages) draw(true);
  }

  const at = (index) => pages.get(Math.floor(index / PAGE))?.[index % PAGE];

  function draw(again = false) {
    const width = element.clientWidth + GAP;
    columns = Math.max(1, Math.floor(width / (LEAST + GAP)));
    cell = width / columns;
    list.style.height = `${Math.ceil(count / columns) * cell}px`;
    list.style.setProperty("--side", `${cell - GAP}px`);
    const first = Math.max(0, (Math.floor(element.scrollTop / cell) - SPARE) * columns);
    const last = Math.min(count, (Math.ceil(element.scrollTop / cell) + ROWS + SPARE) * columns);
    const key = `${first}-${last}-${width}`;
    if (key === drawn && !again) return;
    drawn = key;
    const focused = list.contains(document.activeElement);
    list.replaceChildren(...Array.from({ length: last - first }, (_, offset) => item(first + offset)));
    if (focused) focus();
  }

  function item(index) {
    const page = Math.floor(index / PAGE);
    const image = at(index);
    if (!pages.has(page)) load(page);
    const place = { transform: `translate(${(index % columns) * cell}px, ${Math.floor(index / columns) * cell}px)` };
    const flags = image?.flags ?? [];
    const told = image ? [image.name, ...flags.map((flag) => t(`flag.${flag.replaceAll(" ", "_")}`))].join(", ") : t("strip.loading");
    const choose = h(
      "button", { type: "button", tabindex: index === current ? 0 : -1, title: told, "aria-label": told, "data-index": index },
      image ? picture(dataset.thumbnail(image.id), "") : "",
      flags.length ? h("span", { class: "flag", "aria-hidden": "true" }, "!") : "",
    );
    return h("div", { role: "listitem", class: "strip-item", "aria-setsize": count, "aria-posinset": index + 1, style: place }, choose);
  }

  function focus() {
    list.querySelector(`[data-index="${current}"]`)?.focus({ preventScroll: true });
  }

  function go(index) {
    current = Math.min(Math.max(index, 0), count - 1);
    const top = Math.floor(current / columns) * cell;
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + cell > element.scrollTop + element.clientHeight) element.scrollTop = top + cell - element.clientHeight;
    draw(true);
    focus();
  }

  const index = (event) => Number(event.target.closest("[data-index]")?.dataset.index ?? -1);
  list.addEventListener("click", (event) => at(index(event)) && open(at(index(event))));
  list.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -count, End: count };
    if (event.key in steps) go(index(event) + steps[event.key]);
    else if ((event.key === "Delete" || event.key === "Backspace") && at(index(event))) {
      current = Math.max(0, Math.min(index(event), count - 2));
      remove(at(index(event)));
    } else return;
    event.preventDefault();
  });
  element.addEventListener("scroll", () => requestAnimationFrame(() => draw()), { passive: true });
  new ResizeObserver(() => draw()).observe(element);

  return {
    element,
    update(images, now, flagged) {
      const same = images === count && now === revision;
      if (same && flagged === inspected) return;
      inspected = flagged;
      if (same) {
        pages = new Map(pages); // the photos stay until their new flags have come
        for (const page of pages.keys()) load(page);
        return;
      }
      [count, revision, pages] = [images, now, new Map()];
      current = Math.max(0, Math.min(current, count - 1));
      element.hidden = !count;
      list.setAttribute("aria-label", t("strip.photos_of", { name: name() }));
      draw(true);
    },
  };
}
