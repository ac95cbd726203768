// Runs in the frame that shows a report: writes what the page hands over into this document. The frame has no origin
// and may run no other script; what it gets is shown, never obeyed.
window.addEventListener("message", (event) => {
  if (event.source !== window.parent || typeof event.data !== "string") return;
  const report = new DOMParser().parseFromString(event.data, "text/html");
  document.documentElement.replaceWith(report.documentElement);
});
window.parent.postMessage("ready", "*");
