// Models: what is served, in which versions, how sure and how busy it is, and who is told what by which label.
import { ask, path } from "./api.js";
import { agreementView } from "./agreement.js";
import { models, modelsChanged, onModels } from "./catalogue.js";
import { announce, button, h, notify } from "./dom.js";
import { runsView } from "./runs.js";
import { t } from "./text.js";
import { trafficOf, watchTraffic } from "./traffic.js";
import { watchedView } from "./watched.js";

const COLUMNS = ["version", "state", "labels", "images", "speed", "device", "actions"];
const cell = (column, ...content) => h("td", { "data-column": t(`models.column_${column}`) }, ...content);

export function modelsView() {
  const element = h("section", { class: "view", "aria-labelledby": "models-title" });
  const list = h("div", { class: "model-list" });
  const agreement = agreementView();
  const runs = runsView();
  element.append(
    h("h1", { id: "models-title" }, t("models.title")), h("p", { class: "lead" }, t("models.lead")),
    list, agreement.element, runs.element,
  );
  const cells = new Map(); // what shows the traffic of each version
  let stop;

  function show(known) {
    cells.clear();
    const names = [...new Set(known.models.map((row) => row.name))];
    const opened = new Set([...list.querySelectorAll("details[open]")].map((one) => one.dataset.key));
    list.replaceChildren(...names.map((name) => family(name, known)));
    for (const one of list.querySelectorAll("details")) one.open = opened.has(one.dataset.key);
    agreement.offer(known);
  }

  function family(name, known) {
    const rows = known.models.filter((row) => row.name === name).sort((a, b) => b.version - a.version);
    const ready = rows.find((row) => row.state === "ready");
    const title = h("h2", {}, name, name === known.default ? h("span", { class: "tag" }, t("model.default")) : "");
    return h(
      "article", { class: "model", "aria-label": name },
      title, ready?.description ? h("p", { class: "soft" }, ready.description) : "",
      ready ? h("p", { class: "small" }, facts(ready)) : "",
      h("div", { class: "frame", tabindex: "0", role: "region", "aria-label": t("models.versions_of", { name }) }, versions(name, rows)),
      ready ? cardDetails(name, rows) : "",
      ready ? watchedView(name) : "",
    );
  }

  function versions(name, rows) {
    const head = COLUMNS.map((key) => h("th", { scope: "col" }, t(`models.column_${key}`)));
    return h("table", { class: "stacks" }, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows.map((row) => version(name, row, rows))));
  }

  function version(name, row, rows) {
    const labels = Object.entries(rows.find((one) => one.labels)?.labels ?? {}).filter(([, number]) => number === row.version);
    const images = cell("images", "–");
    const speed = cell("speed", "–");
    cells.set(`${name}/${row.version}`, { images, speed });
    const stable = labels.some(([label]) => label === "stable");
    const several = rows.filter((one) => one.state === "ready").length > 1;
    const act = row.state === "ready" && !stable && several ? button(t("models.make_stable"), () => move(name, row.version, rows)) : "";
    return h(
      "tr", {},
      h("th", { scope: "row", "data-column": t("models.column_version") }, String(row.version)),
      cell("state", t(`state.${row.state}`), row.reason ? h("p", { class: "failed small" }, row.reason) : ""),
      cell("labels", ...labels.map(([label]) => h("span", { class: "tag" }, label))),
      images, speed, cell("device", row.device ?? "–"), cell("actions", act),
    );
  }

  async function move(name, version, rows) {
    const before = rows.find((row) => row.labels)?.labels.stable;
    try {
      await ask(`v1/admin/models/${path(name, "labels", "stable")}`, { method: "PUT", json: { version } });
      await modelsChanged();
      const key = before ? "models.moved_from" : "models.moved";
      notify(t(key, { name, version: String(version), before: String(before) }));
    } catch (error) {
      notify(error.message, true);
    }
  }

  function traffic(figures) {
    for (const [key, { images, speed }] of cells) {
      const known = trafficOf(figures, key);
      images.textContent = known.images;
      speed.textContent = known.speed;
    }
  }

  onModels(show);
  return {
    element,
    enter([name]) {
      models(true).then((known) => {
        show(known);
        if (name) [...list.children].find((one) => one.getAttribute("aria-label") === name)?.scrollIntoView();
        announce(t("models.count", { count: known.models.length }));
      }, (error) => list.replaceChildren(h("p", { class: "note failed" }, error.message)));
      stop?.();
      stop = watchTraffic(traffic, element);
      runs.enter();
    },
    leave: () => stop?.(),
  };
}

function facts(row) {
  const [height, width] = row.input_size;
  const counted = row.task === "regression" ? t("model.number") : t("model.classes", { count: row.classes });
  return [t(`task.${row.task}`), counted, t("model.input", { height: String(height), width: String(width) })].join(" · ");
}

// The card of a version, asked for when somebody opens it.
function cardDetails(name, rows) {
  const ready = rows.filter((row) => row.state === "ready");
  return h("div", {}, ...ready.map((row) => {
    const title = ready.length > 1 ? t("card.of_version", { version: String(row.version) }) : t("card.title");
    const details = h("details", { "data-key": `${name}/${row.version}` }, h("summary", {}, title));
    let asked = false;
    details.addEventListener("toggle", async () => {
      if (!details.open || asked) return;
      asked = true;
      try {
        const { card } = await ask(`v1/models/${path(name)}?version=${row.version}`);
        details.append(cardView(card));
      } catch (error) {
        details.append(h("p", { class: "failed" }, error.message));
      }
    });
    return details;
  }));
}

// What people look for first; the rest of the card as it is.
const FIRST = ["version", "license", "accuracy", "temperature", "reject", "training", "source"];
const APART = new Set(["labels", "name", "description", "task"]);

function cardView(card) {
  const keys = [...FIRST.filter((key) => key in card), ...Object.keys(card).filter((key) => !FIRST.includes(key) && !APART.has(key))];
  const rows = keys.filter((key) => !empty(card[key])).map((key) => [h("dt", {}, key.replaceAll("_", " ")), h("dd", {}, value(card[key]))]);
  const labels = (card.labels ?? []).map((label) => h("li", {}, label.name ?? label.id));
  return h(
    "div", { class: "card-facts" },
    h("dl", {}, ...rows),
    labels.length ? h("h3", {}, t("card.labels", { count: labels.length })) : "",
    labels.length ? h("ul", { class: "label-list", tabindex: "0", "aria-label": t("card.labels", { count: labels.length }) }, ...labels) : "",
  );
}

const empty = (one) => one === null || one === "" || (typeof one === "object" && !Object.keys(one).length);

function value(one) {
  if (one === null || typeof one !== "object") return String(one);
  if (Array.isArray(one) && one.every((part) => typeof part !== "object")) return one.join(", ");
  return h("code", {}, JSON.stringify(one));
}
