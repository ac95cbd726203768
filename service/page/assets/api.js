// The service as the page sees it: its public routes, the token where one is needed, and streams of events.
import { t } from "./text.js";

const KEY = "graft.token";
const listeners = new Set();

export const token = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set(value) {
    if (value) sessionStorage.setItem(KEY, value);
    else sessionStorage.removeItem(KEY);
  },
};

// Hears of every request that was refused for want of a token that may.
export const onRefused = (listener) => listeners.add(listener);

// Somebody wants to give a token before anything was refused.
export const wantToken = () => {
  for (const listener of listeners) listener({ status: 401 });
};

export class Refused extends Error {
  constructor(status, error, body) {
    super(error.message);
    Object.assign(this, { status, type: error.type, requestId: error.request_id, body });
  }
}

// The service did not answer at all.
export class Unreachable extends Error {}

export const query = (values) => {
  const kept = Object.entries(values).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return kept.length ? `?${new URLSearchParams(kept)}` : "";
};
export const path = (...parts) => parts.map(encodeURIComponent).join("/");

function headers(more = {}) {
  return token.get() ? { Authorization: `Bearer ${token.get()}`, ...more } : more;
}

const pause = (seconds, signal) =>
  new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, 1000 * seconds);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });

// A response that is no refusal. Where the service is busy (429, 503 with Retry-After) it is asked again, a few times.
export async function send(address, { method = "GET", body, json, type, signal, accept, tries = 4 } = {}) {
  const more = {};
  if (json !== undefined) [body, more["Content-Type"]] = [JSON.stringify(json), "application/json"];
  if (type) more["Content-Type"] = type;
  if (accept) more.Accept = accept;
  for (let left = tries; ; left -= 1) {
    let response;
    try {
      response = await fetch(address, { method, body, headers: headers(more), signal });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new Unreachable(t("app.unreachable"));
    }
    if (response.ok) return response;
    const wait = Number(response.headers.get("Retry-After"));
    if ((response.status === 429 || response.status === 503) && wait > 0 && left > 1) {
      await pause(Math.min(wait, 10), signal);
      continue;
    }
    const told = await response.json().catch(() => ({}));
    const error = typeof told.error === "object" ? told.error : { message: told.error ?? `HTTP ${response.status}` };
    const refusal = new Refused(response.status, error, told);
    if (response.status === 401 || response.status === 403) for (const listener of listeners) listener(refusal);
    throw refusal;
  }
}

export const ask = async (address, options) => (await send(address, options)).json();

// What a route answers, or undefined where the service has no such route or no such thing.
export async function askIfThere(address, options) {
  try {
    return await ask(address, options);
  } catch (error) {
    if (error.status === 404 || error.status === 405) return undefined;
    throw error;
  }
}

// Server-sent events (https://html.spec.whatwg.org/#server-sent-events) by fetch, which can send a token. Comes back
// after an interruption, from where it was, until `signal` ends it or the stream says `end`.
export async function follow(address, { signal, heard, interrupted = () => {} }) {
  let last = "";
  let wait = 0.5;
  while (!signal.aborted) {
    try {
      const response = await fetch(address, { headers: headers(last ? { "Last-Event-ID": last } : {}), signal });
      if (!response.ok) {
        if (response.status !== 429 && response.status < 500) return;
        throw new Unreachable(String(response.status));
      }
      for await (const event of events(response.body)) {
        wait = 0.5;
        if (event.id) last = event.id;
        heard(event);
        if (event.name === "end") return;
      }
    } catch (error) {
      if (signal.aborted) return;
      interrupted(error);
    }
    await pause(wait, signal).catch(() => {});
    wait = Math.min(2 * wait, 5);
  }
}

async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  let event = { name: "message", data: [], id: "" };
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const lines = text.split(/\r\n|\n|\r/);
    text = lines.pop();
    for (const line of lines) {
      if (!line) {
        if (event.data.length) yield { ...event, data: event.data.join("\n") };
        event = { name: "message", data: [], id: event.id };
        continue;
      }
      const [, name, content] = /^([^:]*):? ?(.*)$/.exec(line);
      if (name === "event") event.name = content;
      else if (name === "data") event.data.push(content);
      else if (name === "id") event.id = content;
    }
  }
}

// A file of the service under a name of the user's choice.
export async function download(address, name) {
  const url = URL.createObjectURL(await (await send(address)).blob());
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
}
