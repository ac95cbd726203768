// Training: begun, watched while it goes, cancelled. It goes on without the page; who comes back sees where it is.
import { ask, follow, path } from "./api.js";
import { curvesView } from "./curves.js";
import { announce, button, h, notify } from "./dom.js";
import { settingsView } from "./settings.js";
import { duration, t } from "./text.js";

const GOING = new Set(["queued", "running", "cancelling"]);

// `changed(jobs)` hears of the dataset's jobs, the newest first, whenever one has begun or ended.
export function trainingView(dataset, abilities, uploads, changed) {
  const settings = settingsView(abilities, dataset);
  const curves = curvesView();
  const bar = h("progress", { "aria-label": t("training.progress") });
  const stage = h("p", { class: "stage" });
  const left = h("p", { class: "soft small" });
  const trouble = h("p", { class: "failed", role: "status" });
  const cancel = button(t("training.cancel"), stop);
  const begin = button(t("training.train"), train, { class: "primary large-button" });
  const why = h("p", { class: "soft small", id: "train-why" });
  const going = h("div", { class: "going", hidden: true }, stage, bar, left, curves.element, h("div", { class: "row" }, cancel));
  const element = h("div", {}, settings.element, h("div", { class: "row" }, begin, why), trouble, going);
  begin.setAttribute("aria-describedby", "train-why");
  let jobs = [];
  let watching;
  let closed = false;
  let beginning = false;
  let listed = false; // its jobs are known: until then one may be going

  const current = () => jobs[0];

  function ready() {
    const filled = dataset.facts.classes.filter((one) => one.count).length;
    const reason = uploads.busy ? t("training.wait_uploads") : filled < 2 ? t("training.need_classes") : "";
    begin.disabled = Boolean(reason) || beginning || !listed || GOING.has(current()?.state);
    why.textContent = GOING.has(current()?.state) ? "" : reason;
  }

  async function train() {
    if (beginning) return;
    beginning = true;
    ready();
    try {
      const job = await ask("v1/jobs", { method: "POST", json: { dataset: dataset.facts.id, ...settings.values() } });
      jobs = [job, ...jobs];
      watch();
      changed(jobs);
      announce(t("training.begun"));
    } catch (error) {
      notify(error.message, true);
    }
    beginning = false;
    ready();
  }

  async function stop() {
    try {
      put(await ask(`v1/jobs/${path(current().id)}/cancel`, { method: "POST" }));
    } catch (error) {
      notify(error.message, true);
    }
  }

  // An answer that was overtaken does not take a job back that has ended.
  function put(job) {
    const before = jobs.find((one) => one.id === job.id);
    if (!GOING.has(before?.state) && GOING.has(job.state)) return;
    jobs = jobs.map((one) => (one === before ? job : one));
    show();
  }

  function show() {
    const job = current();
    const active = GOING.has(job?.state);
    going.hidden = !active;
    ready();
    trouble.textContent = job?.state === "failed" ? t("training.failed", { reason: job.error ?? "" }) : job?.state === "cancelled" ? t("training.cancelled") : "";
    begin.textContent = t(job?.state === "finished" ? "training.again" : "training.train");
    if (!active) return;
    cancel.disabled = job.state === "cancelling";
    const { words, done, total, seconds_left: seconds } = job.progress ?? {};
    stage.textContent = job.state === "queued" && job.queue_position ? t("training.queued", { position: job.queue_position }) : job.state === "cancelling" ? t("job.cancelling") : (words ?? t("training.starting"));
    if (total) [bar.max, bar.value] = [total, done ?? 0];
    else bar.removeAttribute("value");
    left.textContent = Number.isFinite(seconds) && seconds !== null ? t("training.left", { time: duration(seconds) }) : "";
    curves.update(job.curves ?? []);
  }

  function heard({ name, data }) {
    trouble.textContent = "";
    const facts = JSON.parse(data);
    const job = current();
    if (name === "state") put(facts);
    else if (name === "progress") {
      if (facts.stage !== job.progress?.stage) judge(job.id);
      put({ ...job, progress: facts });
    }
    else if (name === "epoch") {
      const others = (job.curves ?? []).filter((one) => one.phase !== facts.phase || one.epoch !== facts.epoch);
      put({ ...job, curves: [...others, facts] });
    }
  }

  // The verdict is there before the job has ended: it is looked for whenever a stage begins.
  async function judge(id) {
    if (current().verdict) return;
    const { verdict, files } = await ask(`v1/jobs/${path(id)}`).catch(() => ({}));
    if (!verdict || current().id !== id) return;
    put({ ...current(), verdict, files });
    announce(verdict.sentences.join(" "));
    changed(jobs);
  }

  async function watch() {
    watching?.abort();
    if (closed) return;
    watching = new AbortController();
    const { signal } = watching;
    show();
    if (!GOING.has(current()?.state)) return;
    const { id } = current();
    const interrupted = () => (trouble.textContent = t("training.lost"));
    await follow(`v1/jobs/${path(id)}/events`, { signal, heard, interrupted });
    if (signal.aborted) return;
    try {
      put(await ask(`v1/jobs/${path(id)}`));
    } catch (error) {
      trouble.textContent = error.message;
      return;
    }
    if (GOING.has(current().state)) return setTimeout(watch, 2000);
    announce(t(`job.${current().state}`));
    return changed(jobs);
  }

  dataset.onChange(ready);
  ready();
  return {
    element,
    ready,
    train,
    close() {
      closed = true;
      watching?.abort();
    },
    // The jobs of the dataset as the service knows them; one that goes on is watched.
    async load() {
      jobs = (await ask("v1/jobs")).jobs.filter((job) => job.dataset === dataset.facts.id);
      listed = true;
      watch();
      changed(jobs);
    },
  };
}
