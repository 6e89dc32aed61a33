// What follows from the operations of a log (oplog §3 to §5): which of them are void, what became of each claim, which
// claims rest on something false.
//
// Everything here is a function of the operations alone, so this page computes by itself what the server answers at
// /state, and compares the two by their hash. It also computes what no server is asked for: the state as it was when the
// log was shorter, and as it would be if a source were false.
//
// It is written to be read beside §4 and §5, and reads only operations that a server has accepted: it does not repeat the
// twelve stages by which an operation is refused. Where a server lies, so that an operation names one that is not here, it
// derives something all the same, and the comparison fails.

import { canonical, CLAIM, CORRECTION, EVIDENCE, GRANT, INFERENCE, REFUTATION, REVOCATION } from "./operation.js";

/** The root key of a log: the key ID with the same public key. */
export const rootOf = (log) => log.replace("omp:id:", "omp:key:");

/**
 * The operations in total order (§3.3), each with its `index` there, the indexes of its `parents`, and its `past`: all its
 * ancestors, as the bits of one large integer.
 */
export function arranged(operations) {
  const ordered = [...operations].sort((one, other) => one.lc - other.lc || (one.id < other.id ? -1 : 1));
  const at = new Map(ordered.map((one, index) => [one.id, index]));
  for (const [index, one] of ordered.entries()) {
    one.index = index;
    one.parents = [one.prev, ...one.deps].map((id) => at.get(id)).filter((parent) => parent !== undefined);
    one.past = one.parents.reduce((past, parent) => past | ordered[parent].past | (1n << BigInt(parent)), 0n);
  }
  return ordered;
}

/** Whether `one` is in the causal past of `other`. */
export const isBefore = (one, other) => Boolean((other.past >> BigInt(one.index)) & 1n);

/**
 * The state of the first `count` operations of an arranged log. `supposed` are IDs that count as refuted, to see what
 * would follow.
 *
 * Returns {heads, forks, of}: the IDs of the heads, the forks as §5.3 has them, and for each ID
 * {status, void, taint, refutedBy, supersededBy, replacement, revokedBy, effective}, as far as they apply to its type.
 */
export function derived(log, ordered, count = ordered.length, supposed = new Set()) {
  const operations = ordered.slice(0, count);
  const byId = new Map(operations.map((one) => [one.id, one]));
  const targeting = (type) =>
    grouped(
      operations.filter((one) => one.type === type),
      (one) => one.body.target,
    );
  const refutations = targeting(REFUTATION);
  const corrections = targeting(CORRECTION);
  const revocations = targeting(REVOCATION);
  const { isVoid } = voidness(rootOf(log), operations, byId, revocations);
  const counting = (found) => (found ?? []).filter((one) => !isVoid(one));
  const isRevoked = (grant) => lineage(grant, byId).some((one) => counting(revocations.get(one.id)).length > 0);

  const of = new Map();
  for (const one of operations) {
    const now = { void: isVoid(one), status: isVoid(one) ? "void" : "active", taint: [] };
    of.set(one.id, now);
    if (one.type === EVIDENCE || one.type === CLAIM) {
      now.refutedBy = counting(refutations.get(one.id))
        .map((other) => other.id)
        .sort();
      if (!now.void && (now.refutedBy.length || supposed.has(one.id))) now.status = "refuted";
    }
    if (one.type === CLAIM) {
      const corrected = counting(corrections.get(one.id)); // in total order, as `operations` are
      now.supersededBy = corrected.map((other) => other.id);
      now.replacement = corrected.at(-1)?.body.replacement ?? null;
      if (now.status === "active" && corrected.length) now.status = "superseded";
    }
    if (one.type === GRANT) {
      now.revokedBy = counting(revocations.get(one.id))
        .map((other) => other.id)
        .sort();
      if (!now.void && isRevoked(one)) now.status = "revoked";
    }
  }
  // §5.2. In total order sources come first, so their taint is known; but any later correction may excuse.
  for (const one of operations) {
    const sources = sourcesOf(one);
    const now = of.get(one.id);
    const excused = (source) =>
      counting(corrections.get(source)).some(({ body }) => body.replacement === one.id || sources.includes(body.replacement));
    now.taint = sources
      .filter((source) => {
        const { status, taint } = of.get(source) ?? { status: "missing", taint: [] };
        return status === "void" || status === "refuted" || (status === "superseded" && !excused(source)) || taint.length > 0;
      })
      .sort();
    if (one.type === CLAIM) now.effective = now.status === "active" && !now.taint.length;
  }
  return { heads: headsOf(operations), forks: forksOf(operations), of };
}

/** What a claim or an inference call was made from (§5.2). */
export const sourcesOf = ({ type, body }) => (type === CLAIM ? body.derived_from : type === INFERENCE ? body.inputs : []);

/** A grant and its ancestors over `parent` (§4). */
function lineage(grant, byId) {
  const found = [];
  for (let one = grant; one; one = byId.get(one.body.parent)) found.push(one);
  return found;
}

// --- void operations, §4 ---

/** Whether the last operation of an arranged log was allowed when it was made (§4.2): otherwise it is refused. */
export function isAuthorized(log, ordered) {
  const byId = new Map(ordered.map((one) => [one.id, one]));
  const one = ordered.at(-1);
  const revocations = grouped(
    ordered.filter(({ type }) => type === REVOCATION),
    ({ body }) => body.target,
  );
  return one.author === rootOf(log) || voidness(rootOf(log), ordered, byId, revocations).authority(one).length > 0;
}

/** What decides whether an operation is void (§4.5): {isVoid, authority}, two functions of an operation. */
function voidness(root, operations, byId, revocations) {
  const grantsTo = grouped(
    operations.filter((one) => one.type === GRANT),
    (one) => one.body.grantee,
  );
  const revoking = (grant) => lineage(grant, byId).flatMap((one) => revocations.get(one.id) ?? []);
  const isRenunciation = (one) => one.author === byId.get(one.body.target)?.body.grantee;
  const known = new Map();

  /** Auth(O), §4.2: the grants under which `one` was made. */
  function authority(one) {
    const renounced = one.type === REVOCATION && isRenunciation(one) ? [byId.get(one.body.target)] : null;
    return (renounced ?? grantsTo.get(one.author) ?? []).filter(
      (grant) =>
        isBefore(grant, one) && (renounced || covers(grant, one, byId)) && !revoking(grant).some((other) => isBefore(other, one)),
    );
  }

  /** Rules 1 and 2 of §4.5 for one grant: nothing under it counts any more, as far as `one` is concerned. */
  const isGone = (grant, one) =>
    lineage(grant, byId).some(isVoid) ||
    revoking(grant).some((other) => !isRenunciation(other) && !isVoid(other) && !isBefore(one, other));

  function isVoid(one) {
    if (one.author === root) return false;
    if (!known.has(one))
      known.set(
        one,
        authority(one).every((grant) => isGone(grant, one)),
      );
    return known.get(one);
  }
  return { isVoid, authority };
}

/** Whether a grant covers an operation (§4.3). That a grant attenuates its parent is known: else it was refused. */
function covers({ id, body: { caps, scope, not_before: from, expires } }, one, byId) {
  const matches = (predicate) =>
    scope.predicates.some(
      (pattern) =>
        pattern === "*" || pattern === predicate || (pattern.endsWith(".*") && `${predicate}.`.startsWith(pattern.slice(0, -1))),
    );
  if (!caps.includes("author") || (scope.ops && !scope.ops.includes(one.type))) return false;
  if ((from !== null && from > one.ts) || (expires !== null && expires <= one.ts)) return false;
  const { body } = one;
  const named = (other) => byId.get(other);
  switch (one.type) {
    case CLAIM:
      return matches(body.predicate);
    case CORRECTION:
      return [body.target, body.replacement].every((other) => other === null || matches(named(other)?.body.predicate));
    case REFUTATION:
      return named(body.target)?.type === CLAIM ? matches(named(body.target).body.predicate) : scope.predicates.includes("*");
    case GRANT:
      return body.parent === id;
    case INFERENCE:
      return body.grant === id;
    case REVOCATION:
      return lineage(named(body.target), byId)
        .slice(1)
        .some((ancestor) => ancestor.id === id);
    default:
      return true;
  }
}

// --- the shape of the log ---

/** The operations that no other one builds on (§3.1). */
function headsOf(operations) {
  const built = new Set(operations.flatMap((one) => one.parents));
  return operations
    .filter((one) => !built.has(one.index))
    .map((one) => one.id)
    .sort();
}

/** Two operations of one author with the same number (§3.4). */
function forksOf(operations) {
  return [...grouped(operations, (one) => `${one.author} ${String(one.seq).padStart(16, "0")}`)]
    .filter(([, twins]) => twins.length > 1)
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([, twins]) => ({ author: twins[0].author, ops: twins.map((one) => one.id).sort(), seq: twins[0].seq }));
}

function grouped(items, keyOf) {
  const groups = new Map();
  for (const one of items) {
    const key = keyOf(one);
    if (groups.has(key)) groups.get(key).push(one);
    else groups.set(key, [one]);
  }
  return groups;
}

/** The state document (§5.3), as its canonical text. */
export function stateDocument(log, ordered, { heads, forks, of }) {
  const listed = (type, shown) =>
    ordered
      .filter((one) => one.type === type)
      .map((one) => ({ id: one.id, ...shown(of.get(one.id)) }))
      .sort((one, other) => (one.id < other.id ? -1 : 1));
  return canonical({
    claims: listed(CLAIM, (now) => ({
      effective: now.effective,
      refuted_by: now.refutedBy,
      replacement: now.replacement,
      status: now.status,
      superseded_by: now.supersededBy,
      taint: now.taint,
    })),
    evidence: listed(EVIDENCE, (now) => ({ refuted_by: now.refutedBy, status: now.status })),
    grants: listed(GRANT, (now) => ({ revoked_by: now.revokedBy, status: now.status })),
    inferences: listed(INFERENCE, (now) => ({ status: now.status, taint: now.taint })),
    forks,
    heads,
    log,
    ops: ordered.length,
    v: "omp/0.2",
    void: ordered
      .filter((one) => of.get(one.id).void)
      .map((one) => one.id)
      .sort(),
  });
}
