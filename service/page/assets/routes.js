// Which routes this service has: asked for once, so that nothing is asked that is not there.
import { ask } from "./api.js";

let known;

export async function hasRoute(path) {
  known ??= ask("openapi.json").then(({ paths }) => new Set(Object.keys(paths)));
  return (await known).has(path);
}
