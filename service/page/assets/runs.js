// What was taught here: each run with its verdict and its report.
import { ask, path, send } from "./api.js";
import { button, h, notify } from "./dom.js";
import { hasRoute } from "./routes.js";
import { moment, t } from "./text.js";

export function runsView() {
  const list = h("ul", { class: "runs" });
  const element = h("section", { class: "block", hidden: true, "aria-labelledby": "runs-title" }, h("h2", { id: "runs-title" }, t("runs.title")), list);

  function row(job) {
    const report = job.files?.find((file) => file.name === "report.html");
    const promoted = (job.promoted ?? []).map((one) => t("runs.served_as", { name: one.model, version: String(one.version) }));
    return h(
      "li", {},
      h("div", {}, h("strong", {}, job.name || job.id), " ", h("span", { class: "tag" }, t(`job.${job.state}`)), " ", h("span", { class: "soft small" }, moment(job.created))),
      job.verdict?.sentences?.length ? h("p", { class: "small" }, job.verdict.sentences[0]) : "",
      promoted.length ? h("p", { class: "soft small" }, promoted.join(" · ")) : "",
      h("div", { class: "row" }, h("a", { href: `#teach/${path(job.dataset)}` }, t("runs.open")), report ? button(t("runs.report"), () => showReport(job)) : ""),
    );
  }

  return {
    element,
    async enter() {
      try {
        const { jobs } = (await hasRoute("/v1/jobs")) ? await ask("v1/jobs") : { jobs: [] };
        element.hidden = !jobs.length;
        list.replaceChildren(...jobs.map(row));
      } catch {
        element.hidden = true; // nobody who may not teach is told of runs
      }
    },
  };
}

// The report of a run in a frame that has no origin and runs nothing of it.
export async function showReport(job) {
  let text;
  try {
    text = await (await send(`v1/jobs/${path(job.id, "files", "report.html")}`)).text();
  } catch (error) {
    notify(error.message, true);
    return;
  }
  const frame = h("iframe", { sandbox: "allow-scripts", src: new URL("frame.html", import.meta.url).href, title: t("runs.report") });
  const ready = (event) => event.source === frame.contentWindow && frame.contentWindow.postMessage(text, "*");
  window.addEventListener("message", ready);
  const dialog = h("dialog", { class: "report", "aria-label": t("runs.report") }, h("form", { method: "dialog" }, h("button", { autofocus: true }, t("runs.close"))), frame);
  dialog.addEventListener("close", () => {
    window.removeEventListener("message", ready);
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
}
