// Which routes this service has: asked for until it answers, so that nothing is asked that is not there.
import { ask } from "./api.js";

let known;

export async function hasRoute(path) {
  known ??= ask("openapi.json").then(({ paths }) => new Set(Object.keys(paths)));
  try {
    return (await known).has(path);
  } catch (error) {
    known = undefined;
    throw error;
  }
}
