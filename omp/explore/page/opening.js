// What a member's key opens (avp §8): the data key that was wrapped for it, and with that the payload.
//
// The server has neither key. All of this happens in the page, which shows beside it what the server sees.

import { base64, fromBase64, keyOf, shared, utf8 } from "./keys.js";

const LABEL = utf8("avp/rdk-wrap/v1");

/** The member whose key file this is: {id: its member id, key, opening: its X25519 secret}. */
export async function memberOf({ seed, opening }) {
  const key = await keyOf(seed);
  return { id: base64(fromBase64(key.publicKey)), key, opening };
}

/** The data key in a wrap (avp §8.4): X25519 with the ephemeral key, HKDF-SHA256 salted with it, AES-256-GCM. */
/** WebCrypto takes an IV of any length; here only one of 12 bytes is right (avp §8.3). */
function checkedIv(text) {
  const iv = fromBase64(text);
  if (iv.length !== 12) throw new Error("an IV must have 12 bytes");
  return iv;
}

async function unwrapped({ ephemeralPublicKey, iv, ciphertext }, secret) {
  const ephemeral = fromBase64(ephemeralPublicKey);
  const material = await crypto.subtle.importKey("raw", await shared(secret, ephemeral), "HKDF", false, ["deriveKey"]);
  const wrapping = await crypto.subtle.deriveKey(
    { name: "HKDF", hash: "SHA-256", salt: ephemeral, info: LABEL },
    material,
    { name: "AES-GCM", length: 256 },
    false,
    ["decrypt"],
  );
  return crypto.subtle.decrypt({ name: "AES-GCM", iv: checkedIv(iv), additionalData: LABEL }, wrapping, fromBase64(ciphertext));
}

/** What the ciphertext is bound to (avp §8.2): UTF8(repoId) || 0x1F || int64BE(payloadVersion) || int64BE(keyEpoch). */
function additional({ repoId, payloadVersion, keyEpoch }) {
  const name = utf8(repoId);
  const bytes = new Uint8Array(name.length + 17);
  const view = new DataView(bytes.buffer);
  bytes.set(name);
  bytes[name.length] = 0x1f;
  view.setBigInt64(name.length + 1, BigInt(payloadVersion));
  view.setBigInt64(name.length + 9, BigInt(keyEpoch));
  return bytes;
}

/** The text that a member reads; throws if its key opens nothing here. */
export async function opened(entry, envelope, secret) {
  const dataKey = await crypto.subtle.importKey("raw", await unwrapped(entry.wrappedDataKey, secret), "AES-GCM", false, [
    "decrypt",
  ]);
  const plain = await crypto.subtle.decrypt(
    { name: "AES-GCM", iv: checkedIv(envelope.iv), additionalData: additional(envelope) },
    dataKey,
    fromBase64(envelope.ciphertext),
  );
  return new TextDecoder().decode(plain);
}
