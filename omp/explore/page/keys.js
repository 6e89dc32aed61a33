// What the browser computes with keys and hashes (WebCrypto), and how bytes are written as text.
//
// A secret key is in here as long as the page is open: it is in no storage, in no address, and is not sent to anybody.
// WebCrypto is there only on pages from https or from this machine; who asks for it elsewhere is told so.

export const utf8 = (text) => new TextEncoder().encode(text);
export const base64 = (bytes) => btoa(String.fromCharCode(...bytes));
export const base64url = (bytes) => base64(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
export const fromBase64 = (text) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (one) => one.charCodeAt(0));
export const hex = (bytes) => Array.from(bytes, (one) => one.toString(16).padStart(2, "0")).join("");
export const random = (size) => crypto.getRandomValues(new Uint8Array(size));

/** Whether this browser can hash and sign at all. */
const canCompute = () => Boolean(globalThis.crypto?.subtle);

export async function sha256(bytes) {
  if (!canCompute()) throw new Error("a browser hashes only on pages from https or from this machine");
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

/** Whether `signature` over `message` is by the key with these 32 bytes; null if this browser does not know Ed25519. */
export async function verified(publicKey, message, signature) {
  let key;
  try {
    key = await crypto.subtle.importKey("raw", publicKey, "Ed25519", false, ["verify"]);
  } catch (error) {
    return error.name === "NotSupportedError" || !canCompute() ? null : false;
  }
  return crypto.subtle.verify("Ed25519", key, signature, message);
}

// RFC 8410 §7: a private key of 32 bytes in PKCS #8, the form that WebCrypto reads, is 16 bytes and the key. The last
// byte but four says for which algorithm: 0x70 is Ed25519, 0x6e X25519.
const pkcs8 = (algorithm, secret) =>
  new Uint8Array([0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, algorithm, 4, 0x22, 4, 0x20, ...secret]);

/** The key of a 32-byte seed: {publicKey: base64url, id: its key ID, sign(bytes)}. */
export async function keyOf(seed) {
  if (!canCompute()) throw new Error("a browser signs only on pages from https or from this machine");
  const secret = await crypto.subtle.importKey("pkcs8", pkcs8(0x70, seed), "Ed25519", true, ["sign"]);
  const { x: publicKey } = await crypto.subtle.exportKey("jwk", secret);
  const sign = async (bytes) => new Uint8Array(await crypto.subtle.sign("Ed25519", secret, bytes));
  return { publicKey, id: `omp:key:ed25519:${publicKey}`, sign };
}

/** What two X25519 keys share: the secret of one and the public half of the other, 32 bytes each. */
export async function shared(secret, publicKey) {
  const own = await crypto.subtle.importKey("pkcs8", pkcs8(0x6e, secret), "X25519", false, ["deriveBits"]);
  const other = await crypto.subtle.importKey("raw", publicKey, "X25519", false, []);
  return new Uint8Array(await crypto.subtle.deriveBits({ name: "X25519", public: other }, own, 256));
}

/** The 32 bytes of a key that somebody has written as hex, base64 or base64url. */
function seedBytes(text) {
  if (/^[0-9a-fA-F]{64}$/.test(text)) return Uint8Array.from(text.match(/../g), (pair) => parseInt(pair, 16));
  if (/^[A-Za-z0-9+/_-]{43}=?$/.test(text)) return fromBase64(text.replace("=", ""));
  throw new Error("a key is 32 bytes: 64 hexadecimal digits, or 43 characters of base64url");
}

/** The secrets in a key file of this server's tools: {seed, opening}; `opening` is the X25519 half of a vault's member. */
export function secretsIn(text) {
  if (!text.trim().startsWith("{")) return { seed: seedBytes(text.trim()), opening: null };
  const file = JSON.parse(text);
  const written = file.ed25519Seed ?? file.ed25519_seed; // of the tools `vault` and `log`
  if (typeof written !== "string") throw new Error("this file has neither ed25519Seed nor ed25519_seed");
  return { seed: seedBytes(written), opening: file.x25519PrivateKey ? seedBytes(file.x25519PrivateKey) : null };
}
