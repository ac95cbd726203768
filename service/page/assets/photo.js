// One photo of a dataset, large: what is to be known of it, to which class it belongs, and away with it.
import { button, field, h, notify, select } from "./dom.js";
import { picture } from "./pictures.js";
import { t } from "./text.js";

export function openPhoto(dataset, image) {
  const names = dataset.facts.classes.map((one) => [one.name, one.name]);
  const act = async (change) => {
    try {
      await change();
      dialog.close();
    } catch (error) {
      notify(error.message, true);
    }
  };
  const classes = select(names, image.class, (name) => act(() => dataset.relabel(image.id, name)));
  const remove = button(t("photo.remove"), () => act(() => dataset.removeImage(image.id)), { class: "danger" });
  const flags = (image.flags ?? []).map((flag) => h("span", { class: "tag warn" }, t(`flag.${flag.replaceAll(" ", "_")}`)));
  const close = h("button", { autofocus: true }, t("photo.close"));
  const dialog = h(
    "dialog", { class: "large", "aria-label": image.name },
    h(
      "form", { method: "dialog" },
      picture(dataset.thumbnail(image.id, 640), image.name),
      h("p", { class: "small" }, image.name, " ", h("span", { class: "soft" }, t("photo.size", { width: String(image.width), height: String(image.height) })), " ", ...flags),
      h("div", { class: "row choosing" }, field(t("photo.class"), classes), h("div", { class: "row" }, remove, close)),
    ),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

// Photos that a warning is about, each with a way to remove it.
export function openPhotos(dataset, title, ids) {
  const list = h("ul", { class: "cards small-cards" });
  for (const id of ids) {
    const card = h("li", { class: "card" }, h("div", { class: "photo" }, picture(dataset.thumbnail(id, 320), id)));
    const remove = button(t("photo.remove"), async () => {
      try {
        await dataset.removeImage(id);
        card.remove();
      } catch (error) {
        notify(error.message, true);
      }
    });
    card.append(h("div", { class: "card-text" }, remove));
    list.append(card);
  }
  const dialog = h("dialog", { class: "large", "aria-label": title }, h("form", { method: "dialog" }, h("p", {}, title), list, h("button", { autofocus: true }, t("photo.close"))));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
