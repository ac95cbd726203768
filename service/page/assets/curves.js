// Curves of loss and accuracy over epochs, drawn as they come.
import { h, svg } from "./dom.js";
import { percent, significant, t } from "./text.js";

const [WIDTH, HEIGHT] = [480, 190];
const SMALL = 0.001; // a loss below it is not told closer
const [LEFT, RIGHT, TOP, BOTTOM] = [44, 10, 10, 24];

// Two charts: `update` draws the points that are known until now, once a frame however often it is called.
export function curvesView() {
  const charts = { accuracy: chart("accuracy"), loss: chart("loss") };
  const element = h("div", { class: "curves", hidden: true }, charts.accuracy.element, charts.loss.element);
  let latest = null; // what is drawn with the next frame

  function draw() {
    // The last phase: of the choosing before it nobody keeps a network.
    const phase = latest.at(-1)?.phase;
    const shown = latest.filter((point) => point.phase === phase);
    latest = null;
    element.hidden = !shown.length;
    for (const one of Object.values(charts)) one.update(shown);
  }

  return {
    element,
    update(points) {
      if (!latest) requestAnimationFrame(draw);
      latest = points;
    },
  };
}

function chart(measure) {
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  const legend = h("p", { class: "legend small" });
  const element = h("figure", {}, h("figcaption", {}, t(`curves.${measure}`)), drawing, legend);
  const known = (values) => values.filter((value) => Number.isFinite(value));

  function update(points) {
    const lines = [measure, `validation_${measure}`].map((key) => points.map((point) => point[key]));
    const all = known(lines.flat());
    element.hidden = !all.length;
    if (!all.length) return;
    const [low, high] = measure === "accuracy" ? [Math.min(...all, 0.5), 1] : [0, Math.max(...all)];
    const epochs = Math.max(points.at(-1).epochs ?? 1, points.at(-1).epoch, 2);
    const x = (epoch) => LEFT + ((WIDTH - LEFT - RIGHT) * (epoch - 1)) / (epochs - 1);
    const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / (high - low || 1));
    const tell = (value) => (measure === "accuracy" ? percent(value, 0) : value > 0 && value < SMALL ? t("curves.small", { value: String(SMALL) }) : significant(value, 2));
    const ticks = [low, (low + high) / 2, high];
    const texts = [];
    const parts = ticks.flatMap((value) => [
      svg("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
      svg("text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, tell(value)),
    ]);
    parts.push(svg("text", { x: LEFT, y: HEIGHT - 6 }, "1"), svg("text", { x: WIDTH - RIGHT, y: HEIGHT - 6, "text-anchor": "end" }, t("curves.epochs", { count: epochs })));
    for (const [index, values] of lines.entries()) {
      if (!known(values).length) continue;
      const name = t(`curves.${index ? "validation" : "training"}`);
      const at = points.map((point, i) => [point.epoch, values[i]]).filter(([, value]) => Number.isFinite(value));
      parts.push(svg("polyline", { class: index ? "line second" : "line", points: at.map(([epoch, value]) => `${x(epoch).toFixed(1)},${y(value).toFixed(1)}`).join(" ") }));
      const [epoch, value] = at.at(-1);
      parts.push(svg("circle", { class: index ? "dot second" : "dot", cx: x(epoch), cy: y(value), r: 3.5 }));
      texts.push(h("span", { class: index ? "key second" : "key" }, `${name} ${tell(value)}`), " ");
    }
    drawing.replaceChildren(...parts);
    legend.replaceChildren(...texts);
    drawing.setAttribute("aria-label", t("curves.told", { what: t(`curves.${measure}`), epoch: String(points.at(-1).epoch), values: legend.textContent.trim() }));
  }
  return { element, update };
}
