// Photos of a class from the camera: as long as a button is held.
import { cameraProblem, hasCamera, openCamera } from "./camera.js";
import { button, h, notify } from "./dom.js";
import { t } from "./text.js";

const EVERY_MS = 150;

// `take(file)` is called with each photo.
export function shooter(take) {
  const opener = button(t("shooter.open"), toggle, { "aria-expanded": "false" });
  const place = h("div", { class: "shooter", hidden: true });
  let camera;
  let awaited; // of the opening that goes on, until somebody closes: people are asked first, which may take long
  let held = false;
  let number = 0;

  async function toggle() {
    if (camera) return close();
    if (awaited) return undefined;
    const mine = (awaited = {});
    let opened;
    try {
      if (!hasCamera()) throw new Error(cameraProblem());
      opened = await openCamera().catch((error) => {
        throw new Error(cameraProblem(error));
      });
    } catch (error) {
      if (mine === awaited) awaited = undefined;
      return notify(error.message, true);
    }
    if (mine !== awaited) return opened.close();
    [camera, awaited] = [opened, undefined];
    const hold = button(t("shooter.hold"), () => {}, { class: "primary" });
    hold.addEventListener("pointerdown", (event) => {
      hold.setPointerCapture(event.pointerId);
      begin();
    });
    for (const name of ["pointerup", "pointercancel", "blur"]) hold.addEventListener(name, end);
    hold.addEventListener("keydown", (event) => (event.key === " " || event.key === "Enter") && !event.repeat && begin());
    hold.addEventListener("keyup", end);
    hold.addEventListener("contextmenu", (event) => event.preventDefault());
    place.replaceChildren(camera.element, hold);
    place.hidden = false;
    opener.textContent = t("shooter.close");
    opener.setAttribute("aria-expanded", "true");
    return hold.focus({ preventScroll: true });
  }

  async function begin() {
    if (held) return;
    held = true;
    place.classList.add("shooting");
    while (held && camera) {
      const began = performance.now();
      number += 1;
      take(await camera.shoot(t("camera.name", { number: `${Date.now()}-${number}` })));
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, EVERY_MS - (performance.now() - began))));
    }
  }

  function end() {
    held = false;
    place.classList.remove("shooting");
  }

  function close() {
    end();
    camera?.close();
    [camera, awaited] = [undefined, undefined];
    place.hidden = true;
    place.replaceChildren();
    opener.textContent = t("shooter.open");
    opener.setAttribute("aria-expanded", "false");
  }
  return { opener, place, close };
}
