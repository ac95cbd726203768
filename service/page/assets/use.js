// What becomes of a finished model: tried at once, taken home, served.
import { ask, download, path } from "./api.js";
import { takePhoto } from "./camera.js";
import { models, modelsChanged } from "./catalogue.js";
import { button, h, notify, pool } from "./dom.js";
import { chooser, leftOut, takesDrops } from "./photos.js";
import { bytes, t } from "./text.js";
import { photoCard } from "./trycard.js";

const STABLE = "stable";

export function useView(job) {
  const state = { cards: new Set(), choice: "" };
  const asking = pool(4);
  const grid = h("ul", { class: "cards", "aria-label": t("try.photos") });
  const served = h("div", { class: "served" });
  const take = ({ photos, others }) => {
    if (others) notify(leftOut(others), true);
    tryOut(photos.map(({ file }) => file));
  };
  const shoot = async () => {
    const photo = await takePhoto().catch((error) => notify(error.message, true));
    if (photo) tryOut([photo]);
  };
  const zone = h("div", { class: "drop slim" }, h("p", { class: "drop-call" }, t("use.drop")), h("div", { class: "row" }, ...chooser(t("photos.choose"), take), button(t("photos.shoot"), shoot)));
  takesDrops(zone, take);
  // "model.onnx" before what is made of it.
  const networks = job.files.filter(({ name }) => name.endsWith(".onnx")).sort((a, b) => a.name.length - b.name.length);
  const files = networks.map(({ name, bytes: size }) => button(t("use.download", { name, size: bytes(size) }), () => fetchFile(name)));
  const element = h(
    "div", {},
    h("h3", {}, t("use.try")), zone, grid,
    h("h3", {}, t("use.take")), h("p", { class: "soft" }, t("use.take_more")), h("div", { class: "row" }, ...files),
    h("h3", {}, t("use.serve")), served,
  );
  let promoted = job.promoted.at(-1);
  let promoting;

  async function fetchFile(name) {
    try {
      await download(`v1/jobs/${path(job.id, "files", name)}`, name.replace(/^model(?=.*\.onnx$)/, () => job.name));
    } catch (error) {
      notify(error.message, true);
    }
  }

  // The version that this job's model is served as; to be tried it is served without a label.
  async function version() {
    promoting ??= promoted ?? ask(`v1/jobs/${path(job.id)}/promote`, { method: "POST", json: {} });
    try {
      promoted = await promoting;
    } catch (error) {
      promoting = undefined;
      throw error;
    }
    state.choice = JSON.stringify({ model: promoted.model, version: promoted.version });
    return promoted;
  }

  async function tryOut(photos) {
    try {
      const fresh = !promoted;
      await version();
      if (fresh) await modelsChanged();
    } catch (error) {
      notify(error.message, true);
      return;
    }
    for (const file of photos) {
      const card = photoCard(file, state, asking, () => grid.classList.toggle("single", state.cards.size === 1));
      state.cards.add(card);
      grid.append(card.element);
      card.classify();
    }
    grid.classList.toggle("single", state.cards.size === 1);
    show();
  }

  async function label(number) {
    await ask(`v1/admin/models/${path(promoted.model, "labels", STABLE)}`, { method: "PUT", json: { version: number } });
    await modelsChanged();
  }

  async function act(change, text) {
    try {
      await change();
      notify(text());
    } catch (error) {
      notify(error.message, true);
    }
    show();
  }

  async function show() {
    const list = promoted ? await models().catch(() => undefined) : undefined;
    const rows = list?.models.filter((row) => row.name === promoted.model) ?? [];
    const stable = rows.find((row) => row.labels)?.labels[STABLE];
    const values = promoted ? { name: promoted.model, version: String(promoted.version) } : {};
    const parts = [];
    if (promoted && stable === promoted.version) {
      parts.push(h("p", {}, t("use.stable", values)), h("p", {}, h("a", { href: `#try/${path(promoted.model)}` }, t("use.open"))));
      const earlier = rows.map((row) => row.version).filter((number) => number !== promoted.version).sort((a, b) => b - a);
      for (const number of earlier.slice(0, 3)) parts.push(button(t("use.back", { version: String(number) }), () => act(() => label(number), () => t("models.moved_from", { name: promoted.model, version: String(number), before: String(promoted.version) }))));
    } else {
      if (promoted) parts.push(h("p", { class: "soft" }, t(stable ? "use.trial_beside" : "use.trial", { ...values, stable: String(stable) })));
      const promote = () => act(async () => label((await version()).version), () => t("use.promoted", { name: promoted.model, version: String(promoted.version) }));
      parts.push(h("p", { class: "soft" }, t("use.serve_more")), button(t("use.promote"), promote, { class: "primary" }));
    }
    served.replaceChildren(...parts);
  }
  show();
  return { element };
}
