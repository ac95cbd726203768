// The camera: a picture as a JPEG file, as often as it is asked for one.
import { h } from "./dom.js";
import { t } from "./text.js";

const QUALITY = 0.92;

export const hasCamera = () => Boolean(navigator.mediaDevices?.getUserMedia);

// An open camera: its `element` shows what it sees, `shoot` gives it as a file, `close` gives the camera back.
export async function openCamera(wanted = { width: { ideal: 640 }, height: { ideal: 480 } }) {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", ...wanted } });
  const element = h("video", { playsinline: true, "aria-label": t("camera.picture") });
  element.muted = true;
  element.srcObject = stream;
  await element.play();
  const canvas = document.createElement("canvas");
  return {
    element,
    async shoot(name) {
      [canvas.width, canvas.height] = [element.videoWidth, element.videoHeight];
      canvas.getContext("2d").drawImage(element, 0, 0);
      const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
      return new File([blob], name, { type: "image/jpeg" });
    },
    close() {
      for (const track of stream.getTracks()) track.stop();
      element.srcObject = null;
    },
  };
}

export function cameraProblem(error) {
  if (!hasCamera()) return t("camera.insecure");
  if (error?.name === "NotAllowedError") return t("camera.denied");
  if (error?.name === "NotFoundError" || error?.name === "OverconstrainedError") return t("camera.none");
  return t("camera.failed", { reason: error?.message ?? "" });
}

// One photo by a dialog; undefined where nobody took it.
export async function takePhoto() {
  if (!hasCamera()) throw new Error(cameraProblem());
  const camera = await openCamera({ width: { ideal: 1280 }, height: { ideal: 960 } }).catch((error) => {
    throw new Error(cameraProblem(error));
  });
  const shoot = h("button", { class: "primary", value: "shoot", autofocus: true }, t("camera.shoot"));
  const dialog = h(
    "dialog", { class: "camera", "aria-label": t("camera.title") },
    h("form", { method: "dialog" }, camera.element, h("div", { class: "row" }, shoot, h("button", { value: "" }, t("camera.cancel")))),
  );
  document.body.append(dialog);
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve));
  const photo = dialog.returnValue === "shoot" ? await camera.shoot(t("camera.name", { number: Date.now().toString() })) : undefined;
  camera.close();
  dialog.remove();
  return photo;
}
