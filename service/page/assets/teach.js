// Teach: classes of one's own, from photos to a model that is served.
import { ask, path, query, send, wantToken } from "./api.js";
import { classesView } from "./classes.js";
import { Dataset } from "./dataset.js";
import { button, field, h, notify, select } from "./dom.js";
import { chooser, takesDrops } from "./photos.js";
import { hasRoute } from "./routes.js";
import { bytes, t } from "./text.js";
import { trainingView } from "./training.js";
import { useView } from "./use.js";
import { verdictView } from "./verdict.js";

const ZIP = /\.zip$/i;

export function teachView() {
  const place = h("div");
  const title = h("h1", { id: "teach-title" }, t("teach.title"));
  const lead = h("p", { class: "lead" }, t("teach.lead"));
  const element = h("section", { class: "view teach", "aria-labelledby": "teach-title" }, title, lead, place);
  let open; // the dataset that is shown, and what shows it
  let turn = 0;

  function close() {
    for (const part of open?.parts ?? []) part.close();
    open?.dataset.close();
    open = undefined;
  }

  async function enter([id]) {
    const mine = (turn += 1); // whoever was on the way elsewhere stays here
    if (open && open.dataset.facts.id === id) return;
    try {
      const workspace = (await hasRoute("/v1/workspace")) ? await ask("v1/workspace") : undefined;
      const { datasets } = workspace?.teaching ? await ask("v1/datasets") : { datasets: [] };
      if (mine !== turn) return;
      close();
      if (!workspace?.teaching) place.replaceChildren(off(workspace, await hasRoute("/v1/datasets")));
      else if (!id) place.replaceChildren(startView(workspace, datasets));
      else await show(workspace, datasets, id);
    } catch (error) {
      if (mine !== turn) return;
      close(); // so that who comes back finds what is asked for then
      place.replaceChildren(h("p", { class: "note failed" }, error.message));
    }
  }

  async function show({ abilities }, datasets, id) {
    const facts = datasets.find((one) => one.id === id);
    if (!facts) {
      place.replaceChildren(h("div", { class: "note" }, h("p", {}, t("teach.no_set")), h("p", {}, h("a", { href: "#teach" }, t("teach.all_sets")))));
      return;
    }
    const dataset = new Dataset(facts);
    const classes = classesView(dataset, (file) => begin(file.name.replace(ZIP, ""), file));
    const [verdict, use] = [step(3, "verdict"), step(4, "use")];
    let judged; // what shows the verdict that came last
    let used; // id of the job whose model can be used
    const training = trainingView(dataset, abilities, classes.uploads, (jobs) => {
      const [job, before] = jobs.filter((one) => one.verdict);
      if (job?.id !== judged?.id) verdict.fill((judged = job && verdictView(dataset, job, before, again))?.element);
      judged?.update(job);
      const usable = jobs.find((one) => one.state === "finished");
      if (usable?.id !== used) use.fill(usable && useView(usable).element);
      used = usable?.id;
    });
    const again = () => {
      training.train();
      training.element.scrollIntoView({ block: "center" });
    };
    const progress = classes.uploads.changed;
    classes.uploads.changed = (uploads) => {
      progress(uploads);
      training.ready();
    };
    open = { dataset, classes, parts: [classes, training] };
    place.replaceChildren(
      chooseSet(datasets, dataset),
      step(1, "classes", classes.element).element, step(2, "training", training.element).element, verdict.element, use.element,
    );
    await training.load();
    if (pending?.id !== id) return;
    const { then } = pending;
    pending = undefined;
    then(classes);
  }

  function chooseSet(datasets, dataset) {
    const sets = select(datasets.map((one) => [one.id, one.name]), dataset.facts.id, (id) => (location.hash = `teach/${path(id)}`));
    const remove = button(t("teach.delete"), async () => {
      if (!window.confirm(t("teach.sure", { name: dataset.facts.name, count: dataset.facts.images }))) return;
      try {
        await ask(dataset.address, { method: "DELETE" });
        location.hash = "teach";
      } catch (error) {
        notify(error.message, true);
      }
    });
    const fresh = button(t("teach.new"), () => (location.hash = "teach"));
    return h("div", { class: "row choosing" }, field(t("teach.set"), sets), h("div", { class: "row" }, fresh, remove));
  }
  return { element, enter, leave: () => open?.classes.rest() };
}

let pending; // {id, then}: what is to be done with the classes of a set that was just made

// A new set, from an archive where one is given, and shown. Gives whether there is one.
async function begin(name, archive, then) {
  try {
    const options = archive ? { method: "POST", body: archive, type: "application/zip" } : { method: "POST", json: { name } };
    if (archive) notify(t("teach.unpacking", { name: archive.name }));
    const facts = await (await send(`v1/datasets${archive ? query({ name }) : ""}`, options)).json();
    opened(facts, then);
    return true;
  } catch (error) {
    notify(error.message, true);
    return false;
  }
}

function opened(facts, then) {
  pending = then && { id: facts.id, then };
  location.hash = `teach/${path(facts.id)}`;
}

function startView({ why, abilities }, datasets) {
  const name = h("input", { type: "text", maxlength: 80, placeholder: t("teach.example"), autocomplete: "off" });
  const form = h("form", { class: "row choosing" }, field(t("teach.name"), name), h("button", { class: "primary" }, t("teach.begin")));
  let begun = false; // whoever clicks twice wants one set
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (begun) return;
    begun = true;
    begun = await begin(name.value.trim() || t("teach.unnamed"));
  });
  const take = (given) => {
    const archive = given.photos.find(({ file }) => ZIP.test(file.name));
    if (archive) return begin(archive.file.name.replace(ZIP, ""), archive.file);
    const outer = given.photos.find(({ folders }) => folders.length);
    if (!outer) return notify(t("teach.no_folders"), true);
    return begin(outer.folders[0], undefined, (classes) => classes.sort(given));
  };
  const zone = h(
    "div", { class: "drop" },
    h("p", { class: "drop-call" }, t("teach.drop")), h("p", { class: "soft small" }, t("classes.drop_more")),
    h("div", { class: "row" }, ...chooser(t("classes.folder"), take, { folder: true }), ...chooser(t("classes.zip"), take, { accept: ".zip,application/zip" })),
  );
  takesDrops(zone, take);
  const sets = datasets.map((one) => h("li", {}, h("a", { href: `#teach/${path(one.id)}` }, one.name), " ", h("span", { class: "soft small" }, t("teach.set_facts", { photos: t("classes.count", { count: one.images }), classes: t("model.classes", { count: one.classes.length }) }))));
  const { disk, accelerator } = abilities;
  return h(
    "div", {},
    sets.length ? h("section", { class: "block" }, h("h2", {}, t("teach.sets")), h("ul", { class: "runs" }, ...sets)) : "",
    h("section", { class: "block" }, h("h2", {}, t("teach.start")), form, zone, abilities.roots.length ? serverFolder(abilities.roots) : ""),
    h("p", { class: "soft small foot" }, t("teach.facts", { why, used: bytes(disk.used), limit: bytes(disk.limit), device: accelerator })),
  );
}

function serverFolder(roots) {
  const folder = h("input", { type: "text", value: `${roots[0]}/`, autocomplete: "off", spellcheck: "false" });
  const form = h("form", { class: "row choosing" }, field(t("teach.folder"), folder, t("teach.roots", { roots: roots.join(", ") })), h("button", {}, t("teach.take_folder")));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const name = folder.value.replace(/\/+$/, "").split("/").at(-1);
    try {
      opened(await ask("v1/datasets", { method: "POST", json: { folder: folder.value, name } }));
    } catch (error) {
      notify(error.message, true);
    }
  });
  return form;
}

// A step of the way, under its number; without content it says what must come before.
function step(number, key, content) {
  const body = h("div", { class: "step-body" });
  const element = h("section", { class: "step", "aria-labelledby": `step-${key}` }, h("h2", { id: `step-${key}` }, h("span", { class: "step-number" }, String(number)), t(`step.${key}`)), body);
  const fill = (filling) => {
    element.classList.toggle("empty", !filling);
    body.replaceChildren(filling ?? h("p", { class: "soft" }, t(`step.${key}_empty`)));
  };
  fill(content);
  return { element, fill };
}

// Why nobody may teach; where there is a workspace, a token may help.
function off(workspace, guarded) {
  const parts = guarded
    ? [h("p", {}, workspace.why), button(t("teach.token"), wantToken)]
    : [h("p", {}, t("teach.off")), h("pre", {}, h("code", {}, "graft teach")), h("p", { class: "soft" }, t("teach.off_more"))];
  return h("div", { class: "note" }, ...parts);
}
