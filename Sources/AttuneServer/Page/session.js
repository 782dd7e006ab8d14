// SPDX-License-Identifier: Apache-2.0
// Who is here, and requests that are made until they are answered.

/** What the server said of this session: name, seal, shape of the questions. */
export let session = {};

/** The link's part after `#`, which the browser sends to nobody: a name and a token. */
const link = new URLSearchParams(location.hash.slice(1));
const token = link.get("token") ?? sessionStorage.getItem("attune-token");
if (token) sessionStorage.setItem("attune-token", token);
const given = link.get("name");
/** A question that is to be shown again, to be answered otherwise. */
export const again = link.get("again");
if (location.hash.length > 1) history.replaceState(null, "", location.pathname);

/** An answer that says no: its status and the server's words. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(method, path, body) {
  const headers = {};
  if (method === "POST") {
    headers["Content-Type"] = "application/json";
    headers["X-Attune-Seal"] = session.seal ?? "";
  }
  const response = await fetch(path, {
    method, headers, credentials: "same-origin", cache: "no-store",
    body: method === "POST" ? JSON.stringify(body ?? {}) : undefined,
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new Refused(
      response.status, answer.error?.message ?? answer.error ?? response.statusText);
  }
  return answer;
}

/** Finds out who is here: the link's name, else the session's. Returns whether anybody is. */
export async function resume() {
  session = await ask("GET", "/api/session");
  if (given && given !== session.name) await begin(given);
  return Boolean(session.name);
}

/** Begins a session under a name. */
export async function begin(name) {
  session = await ask("POST", "/api/session", { name, token });
}

/**
 * Makes a request again and again until the server answers it: the page says nothing is saved
 * before. `trouble` is told what is wrong meanwhile, and "" when it is over.
 */
export async function persist(method, path, body, trouble) {
  const name = session.name;
  for (let attempt = 0; ; attempt++) {
    try {
      const answer = await ask(method, path, body);
      if (attempt > 0) trouble("");
      return answer;
    } catch (error) {
      const status = error instanceof Refused ? error.status : 0;
      if (status === 401 && name && attempt < 20) {
        // The server was started anew: the same name again.
        await begin(name).catch(() => {});
      } else if (status !== 0 && status !== 409 && status !== 429 && status < 500) {
        throw error;
      } else if (status === 409 && path === "/api/undo") {
        throw error;
      }
      trouble(status === 0
        ? "Not saved yet: Attune does not answer. Trying again …"
        : `Not saved yet: ${error.message}. Trying again …`);
      await new Promise(done => setTimeout(done, Math.min(5000, 250 * 2 ** attempt)));
    }
  }
}

/** A key that no other request has; `randomUUID` is for secure addresses only. */
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), byte =>
    byte.toString(16).padStart(2, "0")).join("");
}
