/** Talk to the service: JSON, files, problem documents; with this tab's API key, if it has one. */

import { askForKey, authorization } from "./key.js";

/** An error that the service explained (RFC 9457). */
class Problem extends Error {
  constructor({ status, code, detail, errors = [] }) {
    super(detail);
    this.status = status;
    this.code = code;
    this.fields = errors;
  }
}

/** Fetch a path; ask for a key where one is needed; throw what the service says is wrong. */
export async function request(path, { method = "GET", headers = {}, body } = {}) {
  for (;;) {
    const response = await fetch(path, { method, body, headers: { ...authorization(), ...headers } });
    if (response.ok || response.status === 304) return response;
    const problem = problemFrom(response.status, await response.text());
    if (response.status !== 401) throw problem;
    await askForKey(problem.message);
  }
}

/** Fetch a JSON document. */
export async function read(path) {
  return (await request(path)).json();
}

/** Fetch a file's bytes. */
export async function bytes(path) {
  return (await request(path)).arrayBuffer();
}

/** Read a problem document; anything else that answers is named by its status. */
export function problemFrom(status, text) {
  try {
    const { code, detail, errors } = JSON.parse(text);
    return new Problem({ status, code, detail, errors });
  } catch {
    return new Problem({ status, code: "no-answer", detail: `The service answered ${status}.` });
  }
}
