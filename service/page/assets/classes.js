// The classes of a dataset: named, filled, and warned about.
import { button, freshId, h, notify } from "./dom.js";
import { openPhoto, openPhotos } from "./photo.js";
import { chooser, leftOut, takesDrops } from "./photos.js";
import { shooter } from "./shooter.js";
import { strip } from "./strip.js";
import { t } from "./text.js";
import { Uploads } from "./uploads.js";

const COLOURS = 8;
const SHOWN = 20; // errors that are listed
const ZIP = /\.zip$/i;

// `archive(file)` is called with a zip archive that somebody gives in place of photos.
export function classesView(dataset, archive) {
  const cards = new Map();
  const grid = h("ul", { class: "classes", "aria-label": t("classes.title") });
  const warnings = h("ul", { class: "warnings", "aria-label": t("classes.warnings") });
  const progress = h("div", { class: "uploading", role: "status" });
  const uploads = new Uploads(dataset, showUploads);
  const adder = newClass(dataset);
  const take = (given) => sort(given);
  const zone = h(
    "div", { class: "drop folders" },
    h("div", {}, h("p", { class: "drop-call" }, t("classes.drop")), h("p", { class: "soft small" }, t("classes.drop_more"))),
    h("div", { class: "row" }, ...chooser(t("classes.folder"), take, { folder: true }), ...chooser(t("classes.zip"), take, { accept: ".zip,application/zip" })),
  );
  const element = h("div", {}, zone, progress, warnings, grid);
  grid.append(adder);
  takesDrops(zone, take);

  // Photos in folders go to the class of the innermost folder's name; an archive is a dataset of its own.
  async function sort({ photos, others }) {
    const told = leftOut(others);
    const archives = photos.filter(({ file }) => ZIP.test(file.name));
    const loose = photos.filter(({ file, folders }) => !folders.length && !ZIP.test(file.name));
    if (told) notify(told, true);
    for (const { file } of archives) await archive(file);
    if (loose.length) notify(t("classes.loose", { count: loose.length }), true);
    const byClass = new Map();
    for (const { file, folders } of photos.filter((one) => one.folders.length && !ZIP.test(one.file.name))) {
      const name = folders.at(-1);
      byClass.set(name, [...(byClass.get(name) ?? []), file]);
    }
    for (const [name, files] of byClass) uploads.add(name, files);
  }

  function showUploads() {
    const parts = [];
    if (uploads.busy) {
      const text = uploads.lost ? t("uploads.lost") : t("uploads.going", { done: uploads.done, count: uploads.total });
      parts.push(h("div", { class: "row" }, h("span", {}, text), h("progress", { max: uploads.total, value: uploads.done, "aria-label": text }), button(t("uploads.cancel"), () => uploads.cancel())));
    }
    if (uploads.errors.length) {
      const listed = uploads.errors.slice(0, SHOWN).map(({ name, message }) => h("li", {}, h("strong", {}, name), " ", message));
      if (uploads.errors.length > SHOWN) listed.push(h("li", {}, t("uploads.more", { count: uploads.errors.length - SHOWN })));
      parts.push(h("details", { class: "failed" }, h("summary", {}, t("uploads.errors", { count: uploads.errors.length })), h("ul", {}, ...listed)));
    }
    progress.replaceChildren(...parts);
  }

  function show(facts) {
    const known = new Set(facts.classes.map((one) => one.id));
    for (const [id, card] of cards)
      if (!known.has(id)) {
        card.close();
        card.element.remove();
        cards.delete(id);
      }
    facts.classes.forEach((one, index) => {
      if (!cards.has(one.id)) {
        cards.set(one.id, classCard(dataset, one, index % COLOURS, uploads));
        grid.insertBefore(cards.get(one.id).element, adder);
      }
      cards.get(one.id).update(one, facts);
    });
    warnings.replaceChildren(...facts.warnings.map(warning));
  }

  function warning({ message, images }) {
    const look = images?.length ? button(t("classes.look"), () => openPhotos(dataset, message, images), { class: "quiet" }) : "";
    return h("li", {}, h("span", {}, message), look);
  }

  dataset.onChange(show);
  show(dataset.facts);
  return {
    element,
    uploads,
    sort,
    // Gives cameras back; what is on its way goes on.
    rest() {
      for (const card of cards.values()) card.close();
    },
    close() {
      uploads.cancel();
      this.rest();
    },
  };
}

function newClass(dataset) {
  const name = h("input", { type: "text", maxlength: 200, placeholder: t("classes.name"), "aria-label": t("classes.name"), autocomplete: "off" });
  const form = h("form", {}, name, h("button", {}, t("classes.add")));
  let last = Promise.resolve();
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = name.value.trim();
    name.focus();
    if (!wanted) return;
    name.value = ""; // at once: the next name may be typed while this one is on its way
    last = last.then(() => dataset.addClass(wanted)).catch((error) => {
      notify(error.message, true);
      name.value ||= wanted;
    });
  });
  return h("li", { class: "class-card new" }, form);
}

function classCard(dataset, first, colour, uploads) {
  let known = first;
  const name = h("input", { type: "text", class: "class-name", maxlength: 200, value: first.name, "aria-label": t("classes.rename", { name: first.name }) });
  const count = h("span", { class: "count" });
  const camera = shooter((file) => uploads.add(known.name, [file]));
  const take = ({ photos, others }) => {
    if (others) notify(leftOut(others), true);
    uploads.add(known.name, photos.map(({ file }) => file).filter((file) => !ZIP.test(file.name)));
  };
  const attempt = (change) => change.catch((error) => notify(error.message, true));
  const photos = strip(dataset, () => known.name, {
    open: (image) => openPhoto(dataset, image),
    remove: (image) => attempt(dataset.removeImage(image.id)),
  });
  const remove = button("×", () => {
    if (!known.count || window.confirm(t("classes.sure", { name: known.name, count: known.count }))) attempt(dataset.removeClass(known.id));
  }, { class: "away" });
  name.addEventListener("change", async () => {
    const wanted = name.value.trim();
    if (!wanted || wanted === known.name) {
      name.value = known.name;
      return;
    }
    await attempt(dataset.renameClass(known.id, wanted));
    if (document.activeElement !== name) name.value = known.name;
  });
  name.addEventListener("keydown", (event) => event.key === "Enter" && name.blur());
  const id = freshId("class");
  const element = h(
    "li", { class: "class-card", style: { "--colour": `var(--c${colour})` }, "aria-labelledby": id },
    h("div", { class: "class-head" }, name, count), remove,
    h("span", { id, class: "unseen" }, first.name),
    h("div", { class: "row" }, ...chooser(t("classes.photos"), take), camera.opener),
    camera.place, photos.element, h("p", { class: "soft small hint" }, t("classes.hint")),
  );
  takesDrops(element, take);
  return {
    element,
    close: camera.close,
    update(one, { revision, warnings_revision: inspected }) {
      const edited = document.activeElement === name && name.value !== known.name;
      known = one;
      if (!edited) name.value = one.name;
      name.setAttribute("aria-label", t("classes.rename", { name: one.name }));
      remove.setAttribute("aria-label", t("classes.remove", { name: one.name }));
      element.querySelector(".unseen").textContent = one.name;
      count.textContent = t("classes.count", { count: one.count });
      element.classList.toggle("filled", one.count > 0);
      photos.update(one.count, `${revision}-${one.name}`, inspected);
    },
  };
}
