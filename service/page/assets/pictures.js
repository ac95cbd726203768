// Pictures of the service. Where it asks for a token they are fetched with it, which no <img> can do by itself.
import { send, token } from "./api.js";
import { h, pool } from "./dom.js";

const ASKED_AT_ONCE = 6;
const KEPT = 600;
const asking = pool(ASKED_AT_ONCE);
const kept = new Map(); // addresses of blobs, the ones used last behind

export function picture(address, alt, properties = {}) {
  const image = h("img", { alt, decoding: "async", draggable: "false", ...properties });
  if (token.get()) fetched(address, image);
  else image.src = address;
  return image;
}

async function fetched(address, image) {
  try {
    image.src = kept.get(address) ?? keep(address, URL.createObjectURL(await asking(async () => (await send(address)).blob())));
  } catch {
    image.classList.add("broken"); // its text stands for it
  }
}

function keep(address, url) {
  kept.set(address, url);
  for (const [oldest, blob] of kept) {
    if (kept.size <= KEPT) break;
    URL.revokeObjectURL(blob);
    kept.delete(oldest);
  }
  return url;
}
