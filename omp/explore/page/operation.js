// One operation of the log: its bytes, and what follows from them (oplog §1 and §2).
//
// The operation ID is the hash of the *preimage*: the version, a line feed, and the canonical JSON of everything but the
// signature. The signature is over the same bytes. So who has the bytes of an operation can check both, and this page
// does: it believes no server that names an ID.

import { fromBase64, hex, sha256, utf8, verified } from "./keys.js";

export const EVIDENCE = "evidence-ingest";
export const CLAIM = "claim-assert";
export const CORRECTION = "correction";
export const REFUTATION = "refutation";
export const GRANT = "permission-grant";
export const REVOCATION = "revocation";
export const INFERENCE = "inference-call";

/** Type → what it is called in a sentence. */
export const KINDS = {
  [EVIDENCE]: "Evidence",
  [CLAIM]: "Claim",
  [CORRECTION]: "Correction",
  [REFUTATION]: "Refutation",
  [GRANT]: "Grant",
  [REVOCATION]: "Revocation",
  [INFERENCE]: "Inference call",
};

/** Canonical JSON (oplog §1.1). Names are of [a-z0-9_], so the order of UTF-16 units is that of code points. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value && typeof value === "object") {
    return `{${Object.keys(value)
      .sort()
      .map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`)
      .join(",")}}`;
  }
  return JSON.stringify(value);
}

/** The text whose UTF-8 is hashed and signed (oplog §1.4). */
export function preimage({ sig, ...envelope }) {
  return `${envelope.v}\n${canonical(envelope)}`;
}

export const idOf = async (envelope) => `omp:op:sha256:${hex(await sha256(utf8(preimage(envelope))))}`;

/** The operation that a line holds: its members, `raw` (the line itself) and `id`, computed here. */
async function readOperation(line) {
  const envelope = JSON.parse(line);
  return { ...envelope, raw: line, id: await idOf(envelope) };
}

/** The operations of many lines; a pause now and then leaves the browser time to draw. */
export async function readOperations(text) {
  const lines = text.split("\n").filter(Boolean);
  const read = [];
  for (let at = 0; at < lines.length; at += 500) read.push(...(await Promise.all(lines.slice(at, at + 500).map(readOperation))));
  return read;
}

/**
 * What this browser finds when it checks the bytes of an operation itself: {name, holds, computed} for each check.
 *
 * `holds` is null where this browser cannot compute it. `expected` is the ID by which the operation was asked for.
 */
export async function checksOf(raw, expected) {
  const envelope = JSON.parse(raw);
  const id = await idOf(envelope);
  const key = fromBase64(envelope.author.split(":").at(-1));
  return [
    { name: "The bytes are canonical JSON", holds: canonical(envelope) === raw, computed: `${utf8(raw).length} bytes` },
    { name: "SHA-256 of the preimage is the operation ID", holds: id === expected, computed: id },
    {
      name: "The signature is the author's",
      holds: await verified(key, utf8(preimage(envelope)), fromBase64(envelope.sig)),
      computed: envelope.sig,
    },
  ];
}

/** The operations that an operation names, in words: [what it is called here, ID, what it says of itself there]. */
export function namedBy({ prev, deps, body }) {
  const named = [];
  if (prev) named.push(["before it, by the same key", prev, "after it, by the same key"]);
  for (const id of deps) named.push(["builds on", id, "built on by"]);
  for (const [member, [words, back]] of Object.entries(NAMING)) {
    for (const id of [body[member] ?? []].flat()) named.push([words, id, back]);
  }
  return named;
}

/** The members of bodies that name operations (oplog §2.2): what they say, read from either end. */
const NAMING = {
  derived_from: ["derived from", "a source of"],
  inputs: ["was given", "given to"],
  target: ["targets", "targeted by"],
  replacement: ["replaces by", "put in place by"],
  parent: ["under the grant", "handed on by"],
  grant: ["by the grant", "used by"],
};

/** An operation in a few words, for lists and for screen readers. */
export function summary({ type, body }) {
  switch (type) {
    case EVIDENCE:
      return `${body.source}, ${body.media_type}, ${body.size} bytes`;
    case CLAIM:
      return `${body.predicate} = ${typeof body.object === "string" ? body.object : canonical(body.object)}`;
    case GRANT:
      return `${body.caps.join(", ")} on ${body.scope.predicates.join(", ")}`;
    case INFERENCE:
      return `${body.model}: ${body.purpose}`;
    default:
      return body.reason || "no reason given";
  }
}
