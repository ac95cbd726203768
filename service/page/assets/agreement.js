// Two versions on the same photos: how often they agree, and where they do not.
import { ask, query } from "./api.js";
import { choices, parameters } from "./catalogue.js";
import { field, h, notify, pool, select } from "./dom.js";
import { chooser, leftOut, takesDrops } from "./photos.js";
import { labelsText } from "./results.js";
import { percent, t } from "./text.js";

const MOST = 500;
const ASKED_AT_ONCE = 4;
const Z = 1.96; // 95 %

// Wilson's interval of a share (Wilson 1927).
export function wilson(right, all) {
  const share = right / all;
  const middle = (share + (Z * Z) / (2 * all)) / (1 + (Z * Z) / all);
  const half = (Z * Math.sqrt((share * (1 - share)) / all + (Z * Z) / (4 * all * all))) / (1 + (Z * Z) / all);
  return [Math.max(0, middle - half), Math.min(1, middle + half)];
}

export function agreementView() {
  const first = select([], undefined, compare);
  const second = select([], undefined, compare);
  const outcome = h("div", { role: "status" });
  const take = ({ photos, others }) => {
    files.push(...photos.map(({ file }) => file).slice(0, MOST - files.length));
    if (others) notify(leftOut(others), true);
    compare();
  };
  const element = h(
    "section", { class: "block", "aria-labelledby": "agreement-title" },
    h("h2", { id: "agreement-title" }, t("agreement.title")),
    h("p", { class: "soft" }, t("agreement.lead")),
    h("div", { class: "row choosing" }, field(t("agreement.first"), first), field(t("agreement.second"), second), h("div", { class: "row" }, ...chooser(t("photos.choose"), take))),
    outcome,
  );
  takesDrops(element, take);
  const files = [];
  const asking = pool(ASKED_AT_ONCE);
  let turn = 0;

  async function best(file, choice) {
    const body = new FormData();
    body.append("image", file);
    const answer = await asking(() => ask(`v1/classify${query({ ...parameters(choice), top_k: 1 })}`, { method: "POST", body }));
    const [result] = answer.results;
    if (!result.predictions) throw new Error(t("agreement.no_classes"));
    if (result.labels) return { id: JSON.stringify([...result.labels].sort()), label: labelsText(result), rejected: false };
    return { ...result.predictions[0], rejected: Boolean(result.rejected) };
  }

  async function compare() {
    if (!files.length || !first.value || !second.value) return;
    const mine = (turn += 1);
    outcome.replaceChildren(h("p", { class: "soft" }, t("agreement.asking", { count: files.length })));
    const pairs = await Promise.all(files.map(async (file) => {
      try {
        return { file, answers: await Promise.all([best(file, first.value), best(file, second.value)]) };
      } catch (error) {
        return { file, error };
      }
    }));
    if (mine === turn) show(pairs);
  }

  function show(pairs) {
    const asked = pairs.filter((pair) => pair.answers);
    const apart = asked.filter(({ answers: [a, b] }) => a.id !== b.id || a.rejected !== b.rejected);
    const parts = [];
    if (asked.length) {
      const agreed = asked.length - apart.length;
      const [low, high] = wilson(agreed, asked.length).map((bound) => percent(bound, 0));
      parts.push(h("p", { class: "headline" }, t("agreement.share", { share: percent(agreed / asked.length), agreed, count: asked.length, low, high })));
    }
    for (const { file, error } of pairs.filter((pair) => pair.error).slice(0, 5)) parts.push(h("p", { class: "failed small" }, `${file.name}: ${error.message}`));
    if (apart.length) parts.push(h("ul", { class: "cards small-cards" }, ...apart.map(difference)));
    outcome.replaceChildren(...parts);
  }

  function difference({ file, answers }) {
    const url = URL.createObjectURL(file);
    const picture = h("img", { src: url, alt: file.name, loading: "lazy", on: { load: () => URL.revokeObjectURL(url) } });
    const texts = answers.map((one, index) => h("p", {}, h("span", { class: "soft" }, `${"AB"[index]} `), one.rejected ? t("result.none") : one.label, one.probability === undefined ? "" : ` ${percent(one.probability)}`));
    return h("li", { class: "card" }, h("div", { class: "photo" }, picture), h("div", { class: "card-text" }, ...texts));
  }

  return {
    element,
    // Offers what is served; the newest two versions of a model first, where one has two.
    offer(known) {
      const options = choices(known);
      const before = [first.value, second.value];
      for (const [index, menu] of [first, second].entries()) {
        menu.replaceChildren(...options.map(([value, text]) => h("option", { value }, text)));
        const kept = options.some(([value]) => value === before[index]);
        menu.value = kept ? before[index] : (options[Math.min(index, options.length - 1)]?.[0] ?? "");
      }
      element.hidden = options.length < 2;
    },
  };
}
