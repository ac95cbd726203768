// The verdict on a finished job, in words, and its mistakes as photos that can be put right.
import { ask, path } from "./api.js";
import { button, h, notify, select } from "./dom.js";
import { picture } from "./pictures.js";
import { showReport } from "./runs.js";
import { percent, t } from "./text.js";

const SHOWN = 60; // mistakes at once

// `before` is the finished job before this one, `retrain` begins another.
export function verdictView(dataset, job, before, retrain) {
  const { verdict } = job;
  const compared = h("p", { class: "compared" });
  const mistakes = h("div", { class: "mistakes" });
  const again = button(t("verdict.retrain"), retrain, { class: "primary" });
  const report = h("div", { class: "row" });
  const changes = h("div", { class: "note changes", hidden: true }, h("p", {}), again);
  const figure = verdict?.accuracy === null || verdict?.accuracy === undefined ? "" : share(verdict);
  const [first, ...others] = verdict?.sentences ?? [];
  const element = h(
    "div", {},
    h("div", { class: verdict?.trusted ? "verdict" : "verdict caution" }, figure, h("div", {}, h("p", { class: "headline" }, first ?? ""), ...others.map((text) => h("p", {}, text)), compared)),
    report, mistakes, changes,
  );
  let made = 0;

  function changed(count) {
    made += count;
    tell();
  }

  function tell() {
    changes.hidden = dataset.facts.revision === job.revision;
    changes.firstChild.textContent = made ? t("verdict.changed", { count: made }) : t("verdict.changed_set");
  }

  async function load() {
    const base = `v1/jobs/${path(job.id)}`;
    if (before) ask(`${base}/compare`, { method: "POST", json: { with: before.id } }).then(({ sentence }) => (compared.textContent = t("verdict.compared", { sentence })), (error) => (compared.textContent = error.message));
    try {
      const { mistakes: wrong, images } = await ask(`${base}/mistakes`);
      const title = wrong.length ? t("verdict.mistakes", { count: wrong.length, images }) : t("verdict.no_mistakes", { count: images });
      const cards = wrong.slice(0, SHOWN).map((one) => mistake(dataset, one, changed));
      mistakes.replaceChildren(h("h3", {}, title), wrong.length ? h("p", { class: "soft" }, t("verdict.mend")) : "", h("ul", { class: "cards small-cards" }, ...cards));
      if (wrong.length > SHOWN) mistakes.append(h("p", { class: "soft" }, t("verdict.more", { count: wrong.length - SHOWN })));
    } catch (error) {
      mistakes.replaceChildren(h("p", { class: "failed" }, error.message));
    }
  }
  dataset.onChange(tell);
  tell();
  load();
  return {
    id: job.id,
    element,
    // The report is drawn after the verdict.
    update({ files }) {
      if (!report.children.length && files.some((file) => file.name === "report.html")) report.append(button(t("runs.report"), () => showReport(job)));
    },
  };
}

function share({ accuracy, interval }) {
  const range = interval ? h("span", { class: "soft small" }, t("verdict.interval", { low: percent(interval[0], 0), high: percent(interval[1], 0) })) : "";
  return h("p", { class: "figure" }, h("strong", {}, percent(accuracy, accuracy === 1 ? 0 : 1)), range);
}

function mistake(dataset, one, changed) {
  const status = h("p", { class: "small", role: "status" });
  const acts = h("div", { class: "row" });
  const element = h(
    "li", { class: "card" },
    h("div", { class: "photo" }, one.here ? picture(dataset.thumbnail(one.image, 320), one.name) : h("p", { class: "unshown soft" }, t("verdict.gone"))),
    h("div", { class: "card-text" }, h("p", { class: "small" }, t("verdict.labelled"), " ", h("strong", {}, one.truth)), h("p", { class: "small" }, t("verdict.taken"), " ", h("strong", {}, one.predicted), ` ${percent(one.probability)}`), acts, status),
  );
  const act = async (change, count, text) => {
    try {
      await change();
      changed(count);
      status.textContent = text;
      return true;
    } catch (error) {
      notify(error.message, true);
      return false;
    }
  };

  async function relabel(name) {
    const back = name === one.truth;
    const text = back ? "" : t("verdict.relabelled", { name });
    if (await act(() => dataset.relabel(one.image, name), back ? -1 : 1, text)) offer(back ? undefined : name);
  }

  function offer(now) {
    if (now) return acts.replaceChildren(button(t("verdict.undo"), () => relabel(one.truth)));
    const others = dataset.facts.classes.map(({ name }) => name).filter((name) => name !== one.truth && name !== one.predicted);
    const menu = others.length ? select([["", t("verdict.another_class")], ...others.map((name) => [name, name])], "", relabel, { "aria-label": t("verdict.another_class") }) : "";
    const remove = button(t("photo.remove"), async () => {
      if (await act(() => dataset.removeImage(one.image), 1, t("verdict.removed"))) acts.replaceChildren();
    });
    return acts.replaceChildren(button(t("verdict.it_is", { name: one.predicted }), () => relabel(one.predicted)), menu, remove);
  }
  if (one.here) offer();
  return element;
}
