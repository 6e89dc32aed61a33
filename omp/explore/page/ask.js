// How the page asks the server: by the routes that everybody may ask.
//
// In mode strict the routes of objects and logs want each request signed (RFC 9421, as omp §4 fixes it). The reader's key
// is entered in the view "Key" and kept in this module, as long as the page is open.

import { base64, base64url, fromBase64, random, utf8 } from "./keys.js";

let reader = null; // {key, keyid}: who signs, and under which name

export const readAs = (key, keyid) => {
  reader = key && { key, keyid };
};
export const readerName = () => reader?.keyid ?? null;

/** What the server refused; `status` is that of HTTP, `text` the server's sentence. */
class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

/** The answer to a request, which succeeded: otherwise this throws Refused. A value as `body` is sent as JSON. */
export async function ask(path, { method = "GET", body, accept, token, signal, headers = {} } = {}) {
  const fields = { ...headers, ...(accept && { Accept: accept }), ...(token && { Authorization: `Bearer ${token}` }) };
  if (body !== undefined) fields["Content-Type"] = "application/json";
  const sent = body === undefined ? undefined : JSON.stringify(body);
  if (reader && !token && /^\/(objects|logs)/.test(path)) await sign(method, path, fields, sent);
  const answer = await fetch(path, { method, headers: fields, body: sent, signal, credentials: "omit", cache: "no-store" });
  if (!answer.ok) throw new Refused(answer.status, await sentence(answer));
  return answer;
}

export const askJson = async (path, options) => (await ask(path, options)).json();

async function sentence(answer) {
  const text = await answer.text();
  try {
    const said = JSON.parse(text);
    const words = said.error?.message ?? said.message ?? said.detail;
    if (typeof words === "string") return words;
  } catch {
    /* it is no JSON, and shown as it is */
  }
  return text.slice(0, 300) || `the server answered ${answer.status}`;
}

/** Every page of a list, one after the other: `Link: <…>; rel="next"` leads on. */
export async function* pages(path, options) {
  for (let next = path; next;) {
    const answer = await ask(next, options);
    yield await answer.json();
    next = /<([^>]*)>;\s*rel="next"/.exec(answer.headers.get("Link") ?? "")?.[1];
  }
}

/** Cover method, address, body and what else is sent, with a nonce: nobody who sees the request can send it again. */
async function sign(method, path, fields, body) {
  if (body !== undefined)
    fields["Content-Digest"] = `sha-256=:${base64(new Uint8Array(await crypto.subtle.digest("SHA-256", utf8(body))))}:`;
  const covered = [
    ["@method", method],
    ["@target-uri", new URL(path, location.href).href],
    ...Object.entries(fields).map(([name, value]) => [name.toLowerCase(), value]),
  ];
  const parameters =
    `(${covered.map(([name]) => `"${name}"`).join(" ")});created=${Math.floor(Date.now() / 1000)}` +
    `;nonce="${base64url(random(12))}";keyid="${reader.keyid.replace(/[\\"]/g, "\\$&")}";alg="ed25519"`;
  const base = [...covered, ["@signature-params", parameters]].map(([name, value]) => `"${name}": ${value}`).join("\n");
  fields["Signature-Input"] = `sig1=${parameters}`;
  fields.Signature = `sig1=:${base64(await reader.key.sign(utf8(base)))}:`;
}

/** A bearer token of the vault for `key` (avp §3): the server's nonce, signed. */
export async function vaultToken(key) {
  const ed25519PublicKey = base64(fromBase64(key.publicKey));
  const { nonce } = await askJson("/api/auth/keypair/challenge", { method: "POST", body: { ed25519PublicKey } });
  const bytes = fromBase64(nonce);
  // What is all printable could be a text that means something where this key is used elsewhere (avp §3.2).
  if (bytes.length !== 32 || bytes.every((one) => one >= 0x20 && one <= 0x7e))
    throw new Error("the server's nonce is none to be signed");
  const signature = base64(await key.sign(bytes));
  return (await askJson("/api/auth/keypair/token", { method: "POST", body: { ed25519PublicKey, nonce, signature } })).token;
}

/**
 * Call `happened` whenever the server tells of something (server-sent events), until `signal` is aborted.
 *
 * fetch and not EventSource, which cannot sign its request. A stream that ends is opened again after a second. It is kept
 * only while the page is looked at: a browser has six connections to a server, for all its tabs together.
 */
export async function follow(path, happened, signal) {
  for (let again = false; !signal.aborted; again = true) {
    await looked(signal);
    const hidden = new AbortController();
    const leave = () => {
      if (document.visibilityState === "hidden") hidden.abort();
    };
    document.addEventListener("visibilitychange", leave);
    try {
      const answer = await ask(path, { accept: "text/event-stream", signal: AbortSignal.any([signal, hidden.signal]) });
      if (again) happened(); // something may have happened meanwhile
      for await (const text of answer.body.pipeThrough(new TextDecoderStream())) {
        if (/^(?!:|retry:|$)/m.test(text)) happened(); // anything but a comment, also a part of an event
      }
    } catch (error) {
      if (error.status === 403 || error.status === 401) return;
    } finally {
      document.removeEventListener("visibilitychange", leave);
    }
    await pause(1000, signal);
  }
}

/** Wait until somebody looks at the page. */
const looked = (signal) =>
  new Promise((resolve) => {
    const see = () => {
      if (document.visibilityState === "visible" || signal.aborted) resolve();
    };
    document.addEventListener("visibilitychange", see, { signal });
    signal.addEventListener("abort", see);
    see();
  });

/** Call `again` every `milliseconds` while the page is looked at, until `signal` is aborted. A call that fails is none. */
export async function repeat(milliseconds, again, signal) {
  while (!signal.aborted) {
    if (document.visibilityState === "visible") await Promise.resolve(again()).catch(() => {});
    await pause(milliseconds, signal);
  }
}

const pause = (milliseconds, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
