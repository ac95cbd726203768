// Traffic: what /metrics tells of each version (https://prometheus.io/docs/instrumenting/exposition_formats/).
import { send } from "./api.js";
import { duration, t } from "./text.js";

const EVERY_S = 3;
const LINE = /^(\w+)(?:{(.*)})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

function parsed(text) {
  const samples = [];
  for (const line of text.split("\n")) {
    const match = LINE.exec(line);
    if (!match || line.startsWith("#")) continue;
    const labels = {};
    for (const [, name, value] of (match[2] ?? "").matchAll(LABEL)) labels[name] = value.replace(/\\(.)/g, "$1");
    samples.push({ name: match[1], labels, value: Number(match[3]) });
  }
  return samples;
}

const sum = (samples, name, fits) =>
  samples.filter((one) => one.name === name && fits(one.labels)).reduce((total, one) => total + one.value, 0);

// Tells `heard` all figures, now and every few seconds while `element` is in sight. Returns what ends it.
export function watchTraffic(heard, element) {
  let ended = false;
  let timer;
  async function look() {
    if (!document.hidden && !element.hidden) {
      try {
        heard(parsed(await (await send("metrics", { tries: 1 })).text()));
      } catch {
        // The list of models says what is wrong with the service.
      }
    }
    if (!ended) timer = setTimeout(look, 1000 * EVERY_S);
  }
  look();
  return () => {
    ended = true;
    clearTimeout(timer);
  };
}

// Of a version, by model/version: images with an answer, and the mean time that one takes in the model.
export function trafficOf(samples, key) {
  const fits = ({ model, version }) => `${model}/${version}` === key;
  const answered = sum(samples, "graft_images_total", (labels) => fits(labels) && labels.outcome === "answered");
  const lost = sum(samples, "graft_images_total", (labels) => fits(labels) && labels.outcome !== "answered");
  const seconds = sum(samples, "graft_batch_seconds_sum", fits);
  const run = sum(samples, "graft_batch_size_sum", fits);
  const images = lost ? t("traffic.images_lost", { count: answered, lost }) : t("traffic.images", { count: answered });
  return { images, speed: run ? t("traffic.each", { time: duration(seconds / run) }) : "–" };
}
