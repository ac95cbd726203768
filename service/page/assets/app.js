// The frame of the page: which part is shown, and the token.
import { onRefused, token } from "./api.js";
import { modelsChanged } from "./catalogue.js";
import { announce, notify } from "./dom.js";
import { t } from "./text.js";
import { modelsView } from "./models.js";
import { teachView } from "./teach.js";
import { tryView } from "./try.js";

const main = document.getElementById("main");
const links = [...document.querySelectorAll(".bar nav a")];
const makers = { try: tryView, teach: teachView, models: modelsView };
const views = {};
let shown;

// What stands behind the # of the address: a part of the page, and what it is to show.
function place() {
  try {
    return location.hash.slice(1).split("/").map(decodeURIComponent);
  } catch {
    return []; // no address that the page has made
  }
}

function show(focus) {
  const [name, ...rest] = place();
  const next = name in makers ? name : "try";
  views[next] ??= built(next);
  if (shown !== next) {
    if (shown) {
      views[shown].leave?.();
      views[shown].element.hidden = true;
    }
    shown = next;
    views[next].element.hidden = false;
    window.scrollTo(0, 0);
  }
  for (const link of links) {
    if (link.hash === `#${next}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = t("app.heading", { part: t(`app.${next}`) });
  views[next].enter?.(rest);
  if (focus) {
    main.focus({ preventScroll: true });
    announce(document.title);
  }
}

function built(name) {
  const view = makers[name]();
  main.append(view.element);
  return view;
}

const form = document.getElementById("token-form");
const opener = document.getElementById("token-button");
const entry = document.getElementById("token-field");

function openToken(open) {
  form.hidden = !open;
  opener.setAttribute("aria-expanded", String(open));
}

opener.addEventListener("click", () => {
  openToken(form.hidden);
  if (!form.hidden) entry.focus();
});
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  token.set(entry.value.trim());
  entry.value = "";
  openToken(false);
  try {
    await modelsChanged();
    notify(t(token.get() ? "token.kept" : "token.gone"));
    views[shown].enter?.(place().slice(1));
  } catch (error) {
    notify(error.message, true);
  }
});
// The field is there where the service has asked for a token, or has one already.
opener.hidden = !token.get();
onRefused((refusal) => {
  if (refusal.status !== 401 && !token.get()) return;
  opener.hidden = false;
  if (!form.hidden) return;
  openToken(true);
  entry.focus();
});

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
// A photo that misses its place must not replace the page.
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());
window.addEventListener("hashchange", () => show(true));
show(false);
