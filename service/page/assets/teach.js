// Teach: classes of one's own.
import { ask } from "./api.js";
import { h } from "./dom.js";
import { hasRoute } from "./routes.js";
import { t } from "./text.js";

export function teachView() {
  const element = h("section", { class: "view", "aria-labelledby": "teach-title" }, h("h1", { id: "teach-title" }, t("teach.title")), h("p", { class: "lead" }, t("teach.lead")));
  const place = h("div");
  element.append(place);

  async function enter() {
    try {
      const workspace = (await hasRoute("/v1/workspace")) ? await ask("v1/workspace") : undefined;
      place.replaceChildren(...(workspace ? [] : [off()]));
    } catch (error) {
      place.replaceChildren(h("p", { class: "note failed" }, error.message));
    }
  }
  return { element, enter };
}

function off() {
  return h("div", { class: "note" }, h("p", {}, t("teach.off")), h("pre", {}, h("code", {}, "graft teach")), h("p", { class: "soft" }, t("teach.off_more")));
}
