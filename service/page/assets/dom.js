// Elements, and what is said to those who do not see them.
import { t } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";

// An element: properties are attributes, but for `class`, `on` (listeners by event) and `style` (variables and the like).
export function h(name, properties = {}, ...children) {
  return built(document.createElement(name), properties, children);
}

export function svg(name, properties = {}, ...children) {
  return built(document.createElementNS(SVG, name), properties, children);
}

function built(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === "style") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else if (name === "value" && "value" in element) element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const button = (text, click, properties = {}) =>
  h("button", { type: "button", ...properties, on: { click } }, text);

let nextId = 0;
export const freshId = (word) => `${word}-${(nextId += 1)}`;

// A label with its control.
export function field(label, control, note) {
  control.id ||= freshId("field");
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, note && h("p", { class: "soft small" }, note));
}

export function select(options, chosen, change, properties = {}) {
  const made = h("select", { ...properties, on: { change: () => change(made.value) } });
  for (const [value, text, disabled] of options) made.append(h("option", { value, disabled }, text));
  if (chosen !== undefined) made.value = chosen;
  return made;
}

export function announce(text) {
  document.getElementById("live").textContent = text;
}

// A short message at the lower edge, which goes by itself unless it is about a failure.
export function notify(text, failed = false) {
  document.querySelector(".toast")?.remove();
  const close = button("×", () => toast.remove(), { "aria-label": t("app.dismiss") });
  const toast = h("aside", { class: failed ? "toast failed" : "toast", "aria-label": t("app.notice") }, h("span", {}, text), close);
  document.body.append(toast);
  announce(text);
  if (!failed) setTimeout(() => toast.remove(), 6000);
}

// At most `most` of some tasks at a time, in order.
export function pool(most) {
  const waiting = [];
  let running = 0;
  const next = () => {
    if (running >= most || !waiting.length) return;
    running += 1;
    const { task, resolve, reject } = waiting.shift();
    task().then(resolve, reject).finally(() => {
      running -= 1;
      next();
    });
  };
  return (task) =>
    new Promise((resolve, reject) => {
      waiting.push({ task, resolve, reject });
      next();
    });
}
