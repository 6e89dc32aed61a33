// What a key signs here: requests (HTTP Message Signatures, RFC 9421, as omp §4 wants them), operations of the log
// (oplog §1.4), and the nonce that a vault gives a token for (avp §3.2). The browser signs; a seed never leaves the page.

const bytesOf = (text) => new TextEncoder().encode(text);
const base64 = (bytes) => btoa(String.fromCharCode(...bytes));
const base64url = (bytes) => base64(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const fromBase64 = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (one) => one.charCodeAt(0));
const random = (size) => crypto.getRandomValues(new Uint8Array(size));

/** The 32 bytes of a seed in hex, base64 or base64url. */
function seedBytes(text) {
  if (/^[0-9a-fA-F]{64}$/.test(text)) return Uint8Array.from(text.match(/../g), (pair) => parseInt(pair, 16));
  if (/^[A-Za-z0-9+/_-]{43}=?$/.test(text)) return fromBase64(text.replace("=", ""));
  throw new Error("a seed is 32 bytes: 64 hexadecimal digits, or 43 characters of base64url");
}

// RFC 8410 §7: these 16 bytes and the seed are an Ed25519 private key in PKCS #8, the form that WebCrypto reads.
const PKCS8 = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/** The key of a seed: {publicKey: base64url, id, log, sign(bytes)}. */
async function keyOf(seed) {
  if (!globalThis.crypto?.subtle) throw new Error("a browser signs only on pages from https or from this machine");
  const secret = await crypto.subtle.importKey("pkcs8", new Uint8Array([...PKCS8, ...seedBytes(seed)]), "Ed25519", true, ["sign"]);
  const { x: publicKey } = await crypto.subtle.exportKey("jwk", secret);
  return {
    publicKey, id: `omp:key:ed25519:${publicKey}`, log: `omp:id:ed25519:${publicKey}`,
    sign: async (bytes) => new Uint8Array(await crypto.subtle.sign("Ed25519", secret, bytes)),
  };
}

/**
 * Sign a request in place: {method, url, headers: [[name, value]], body: string or undefined}.
 * Method, address, every field and the body are covered. The signature base is kept as `request.base`, to be shown.
 */
async function signRequest(request, key, keyid) {
  const fields = new Headers(request.headers);  // lower case, without the space around values, lines of one name joined
  if (request.body !== undefined && !fields.has("Content-Digest")) {
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytesOf(request.body)));
    request.headers.push(["Content-Digest", `sha-256=:${base64(digest)}:`]);
    fields.set(...request.headers.at(-1));
  }
  const covered = [["@method", request.method], ["@target-uri", request.url], ...fields];
  const quoted = (text) => `"${text.replace(/[\\"]/g, "\\$&")}"`;
  // A nonce is good once: nobody who sees this request can send it again (omp §4.2).
  const parameters = `(${covered.map(([name]) => quoted(name)).join(" ")});created=${Math.floor(Date.now() / 1000)}` +
    `;nonce=${quoted(base64url(random(12)))};keyid=${quoted(keyid)};alg="ed25519"`;
  request.base = [...covered, ["@signature-params", parameters]].map(([name, value]) => `${quoted(name)}: ${value}`).join("\n");
  const signature = await key.sign(bytesOf(request.base));
  request.headers.push(["Signature-Input", `sig1=${parameters}`], ["Signature", `sig1=:${base64(signature)}:`]);
}

// --- operations of the log ---

/** Canonical JSON (oplog §1.1). Names are of [a-z0-9_], so that the order of UTF-16 units is that of code points. */
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (isRecord(value)) return `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join(",")}}`;
  if (typeof value === "number" && !Number.isSafeInteger(value)) throw new Error(`an operation holds no number like ${value}`);
  return JSON.stringify(value);
}

const FIRST_OPERATION = {
  v: "omp/0.2", type: "evidence-ingest", seq: 1, prev: null, deps: [], lc: 1,
  body: {
    evidence: "omp:ev:sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03", media_type: "text/plain", size: 6,
    source: "docs:try", observed_at: null,
  },
};

/** The canonical bytes of an operation in `log`, with what the writer left out filled in, signed by `key`. */
async function signedOperation(text, key, log) {
  const { sig, ...written } = JSON.parse(text);
  const operation = { v: FIRST_OPERATION.v, ts: new Date().toISOString(), ...written, log, author: key.id };
  operation.sig = base64url(await key.sign(bytesOf(`${operation.v}\n${canonical(operation)}`)));
  return canonical(operation);
}

// --- a token of the vault ---

const CHALLENGE = "/api/auth/keypair/challenge", TOKEN = "/api/auth/keypair/token";

/** A bearer token for `key`: the vault's nonce, signed. */
async function vaultToken(key) {
  const ed25519PublicKey = base64(fromBase64(key.publicKey));
  const post = async (path, body) => {
    const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), credentials: "omit" });
    if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
    return answer.json();
  };
  const { nonce } = await post(CHALLENGE, { ed25519PublicKey });
  const bytes = fromBase64(nonce);
  // What is all printable could be a text that means something where this key is used elsewhere (avp §3.2).
  if (bytes.length !== 32 || bytes.every((one) => one >= 0x20 && one <= 0x7e)) throw new Error("the server's nonce is none to be signed");
  return (await post(TOKEN, { ed25519PublicKey, nonce, signature: base64(await key.sign(bytes)) })).token;
}
