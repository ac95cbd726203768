// Photos as people give them: dropped, pasted, chosen, or in folders.
import { button, h } from "./dom.js";
import { t } from "./text.js";

const LIKELY = /\.(jpe?g|png|webp|gif|bmp|tiff?|heic|heif|avif|jfif|zip)$/i;
// What systems write between photos.
const LITTER = /^(\.|__MACOSX$|Thumbs\.db$|desktop\.ini$)/i;

const likely = (file) => file.type.startsWith("image/") || LIKELY.test(file.name);

// What was dropped, as {file, folders}: the names of the folders above each file, outermost first; `others` counts what
// was left out because it is no photo. Entries must be asked for at once: they are gone after the event.
export async function dropped(transfer) {
  const entries = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.());
  if (!entries.length || entries.some((entry) => !entry)) return sorted([...transfer.files].map((file) => ({ file, folders: [] })));
  const listed = [];
  for (const entry of entries) await walk(entry, [], listed);
  return sorted(listed);
}

// What a file input holds; one for folders knows the path of each file.
export function chosen(input) {
  const listed = [...input.files].map((file) => ({ file, folders: (file.webkitRelativePath || "").split("/").slice(0, -1) }));
  input.value = "";
  return sorted(listed);
}

export function pasted(event) {
  return [...(event.clipboardData?.files ?? [])].filter(likely);
}

function sorted(listed) {
  const named = listed.filter(({ file, folders }) => ![file.name, ...folders].some((name) => LITTER.test(name)));
  const photos = named.filter(({ file }) => likely(file));
  return { photos, others: named.length - photos.length };
}

async function walk(entry, folders, listed) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject)).catch(() => undefined);
    if (file) listed.push({ file, folders });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)).catch(() => []);
    if (!entries.length) return;
    for (const inner of entries) await walk(inner, [...folders, entry.name], listed);
  }
}

// Lets an element take what is dropped on it.
export function takesDrops(element, take) {
  let depth = 0;
  const over = (change) => {
    depth += change;
    element.classList.toggle("over", depth > 0);
  };
  element.addEventListener("dragenter", () => over(1));
  element.addEventListener("dragleave", () => over(-1));
  element.addEventListener("dragover", (event) => event.preventDefault());
  element.addEventListener("drop", async (event) => {
    event.preventDefault();
    event.stopPropagation();
    over(-depth);
    take(await dropped(event.dataTransfer));
  });
}

// A button that opens the system's dialog for files.
export function chooser(text, take, { folder = false, accept = "image/*,.heic,.heif,.tif,.tiff", primary = false } = {}) {
  const input = h("input", {
    type: "file", multiple: true, hidden: true, accept: folder ? undefined : accept, webkitdirectory: folder,
    "aria-label": text, on: { change: () => take(chosen(input)) },
  });
  return [button(text, () => input.click(), { class: primary ? "primary" : "" }), input];
}

// Says what was left out, where something was.
export const leftOut = (others) => (others ? t("photos.left_out", { count: others }) : "");
