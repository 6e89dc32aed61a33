// Two replicas of a log, side by side, for a lesson: take them off line, let both write, and let them meet.
//
// Everything here happens in the page, with keys that it makes and forgets; nothing is sent to the server. A replica is a
// set of operations, and what follows from it is computed by state.js. So when both hold the same operations they have
// the same state, in whatever order these came: that is what there is to see.

import { button, code, counted, element } from "./elements.js";
import { Graph } from "./graph.js";
import { base64url, hex, keyOf, random, sha256, utf8 } from "./keys.js";
import { CLAIM, GRANT, idOf, preimage, REFUTATION, REVOCATION, summary } from "./operation.js";
import { arranged, derived, isAuthorized, stateDocument } from "./state.js";

/** What one device holds; `names` are those of the keys. */
export class Replica {
  constructor(name, log, names) {
    Object.assign(this, { name, log, names, keys: [...names.keys()], ordered: [], byId: new Map(), waiting: [], state: null });
  }

  nameOf(key) {
    return this.names.get(key) ?? "?";
  }

  /** Take in operations; those that are here already change nothing. */
  take(operations) {
    const fresh = operations.filter((one) => !this.byId.has(one.id)).map((one) => ({ ...one })); // each replica numbers its own
    this.ordered = arranged([...this.ordered, ...fresh]);
    this.byId = new Map(this.ordered.map((one) => [one.id, one]));
    this.state = derived(this.log, this.ordered);
    return fresh.length;
  }

  async stateId() {
    return `omp:state:sha256:${hex(await sha256(utf8(stateDocument(this.log, this.ordered, this.state))))}`;
  }

  /** The next operation of `key` (oplog §8.1): it builds on the end of its own chain and on the other heads. */
  async write(key, type, body) {
    const own = this.ordered.filter((one) => one.author === key.id);
    const previous = own.at(-1) ?? null;
    const heads = (this.state?.heads ?? []).map((id) => this.byId.get(id)).filter((one) => one !== previous);
    const envelope = {
      v: "omp/0.2",
      type,
      log: this.log,
      author: key.id,
      seq: (previous?.seq ?? 0) + 1,
      prev: previous?.id ?? null,
      deps: heads.map((one) => one.id).sort(),
      lc: 1 + Math.max(0, ...[previous, ...heads].filter(Boolean).map((one) => one.lc)),
      ts: new Date().toISOString(),
      body,
    };
    const sig = base64url(await key.sign(utf8(preimage(envelope))));
    const made = { ...envelope, sig, id: await idOf(envelope) };
    if (!isAuthorized(this.log, arranged([...this.ordered, made].map((one) => ({ ...one })))))
      throw new Error("it has seen that its grant was revoked, and every verifier would refuse what it writes (ERR_AUTHZ)");
    this.take([made]);
  }

  /** The newest claim that counts and satisfies a test. */
  newest(test) {
    return this.ordered.filter((one) => one.type === CLAIM && this.state.of.get(one.id).effective && test(one)).at(-1);
  }
}

const claimed = (predicate, object, sources, method) => ({
  subject: "self",
  predicate,
  object,
  confidence_ppm: 900_000,
  derived_from: sources,
  method,
});

export default async function fill({ page, signal }) {
  const [root, laptop, phone] = await Promise.all([1, 2, 3].map(() => keyOf(random(32))));
  const log = root.id.replace("omp:key:", "omp:id:");
  const names = new Map([
    [root.id, "root"],
    [laptop.id, "laptop"],
    [phone.id, "phone"],
  ]);
  const replicas = [new Replica("Laptop", log, names), new Replica("Phone", log, names)];
  let online = true;
  let written = 0;

  for (const key of [laptop, phone]) {
    const scope = { predicates: ["*"], provenance: "full" };
    await replicas[0].write(root, GRANT, {
      grantee: key.id,
      caps: ["author"],
      scope,
      parent: null,
      max_depth: 0,
      not_before: null,
      expires: null,
    });
  }
  replicas[1].take(replicas[0].ordered);

  const panels = replicas.map((replica, at) => panelOf(replica, at === 0 ? laptop : phone));
  const verdict = element("p", { role: "status", class: "agreement" });
  const link = button("", () => {
    online = !online;
    if (online) meet();
    refresh();
  });

  function meet() {
    const [one, other] = replicas;
    one.take(other.ordered);
    other.take(one.ordered);
  }

  /** Write, pass it on where both are on line, and show what has become of it. */
  async function act(panel, writing) {
    let refused = "";
    await writing.catch((error) => {
      refused = `The ${panel.replica.name.toLowerCase()} cannot write: ${error.message}.`;
    });
    if (online) meet();
    await refresh();
    if (refused) panel.said.replaceChildren(element("strong", { class: "bad" }, refused));
  }

  function panelOf(replica, key) {
    const said = element("p", { class: "counts" });
    const picture = new Graph(replica, (id) => {
      said.replaceChildren(summary(replica.byId.get(id)));
      picture.choose(id);
    });
    const other = replica.name === "Laptop" ? phone : laptop;
    const own = (words, kind) => button(words, () => act({ replica, said }, kind()), { class: "plain" });
    const derive = async () => {
      const source = replica.newest((one) => one.author === other.id) ?? replica.newest(() => true);
      if (!source) throw new Error("there is no claim yet to derive one from");
      return replica.write(key, CLAIM, claimed("note.derived", `from ${source.body.object}`, [source.id], "rule:lesson/1"));
    };
    const refute = async () => {
      const sources = new Set(replica.ordered.flatMap((one) => one.body.derived_from ?? []));
      const target = replica.newest((one) => sources.has(one.id)) ?? replica.newest(() => true);
      if (!target) throw new Error("there is no claim yet to refute");
      return replica.write(key, REFUTATION, { target: target.id, reason: "it is not so" });
    };
    const buttons = [
      own("Write a claim", () => replica.write(key, CLAIM, claimed("note.said", `${(written += 1)}`, [], "user:typed"))),
      own("Derive from the other's", derive),
      own("Refute what is built on", refute),
    ];
    if (key === laptop) {
      buttons.push(
        own("Revoke the phone (root)", () => {
          const grant = replica.ordered.find((one) => one.type === GRANT && one.body.grantee === phone.id);
          return replica.write(root, REVOCATION, { target: grant.id, reason: "lost" });
        }),
      );
    }
    return {
      replica,
      picture,
      said,
      element: element(
        "section",
        { class: "detail", "aria-label": replica.name },
        element("h2", {}, replica.name),
        element("div", { class: "buttons" }, buttons),
        said,
        picture.frame,
      ),
    };
  }

  async function refresh() {
    for (const { replica, picture, said } of panels) {
      const { state, ordered } = replica;
      picture.show(ordered.length, state);
      picture.newest();
      const voids = ordered.filter((one) => state.of.get(one.id).void).length;
      const tainted = ordered.filter((one) => state.of.get(one.id).taint.length).length;
      const counts = [
        counted(ordered.length, "operation"),
        counted(state.heads.length, "head"),
        counted(voids, "void operation"),
        counted(tainted, "tainted one", "tainted ones"),
      ];
      said.replaceChildren(...counts.map((text) => element("span", {}, text)));
    }
    const [one, other] = await Promise.all(replicas.map((replica) => replica.stateId()));
    if (signal.aborted) return;
    link.textContent = online ? "Take both off line" : "Let them meet";
    verdict.replaceChildren(
      ...(one === other
        ? [element("span", { class: "good" }, "✓ Both have the same state: "), code(one)]
        : [
            element("span", { class: "bad" }, "✗ They differ"),
            `: what one has written the other has not seen. ${apart(replicas)}`,
          ]),
    );
  }

  page.append(
    element("h1", {}, "Two replicas"),
    element(
      "p",
      { class: "lead" },
      "A log that two devices write to, made in this page with keys of its own. Nothing of it is sent to the server.",
    ),
    element("div", { class: "buttons" }, link),
    verdict,
    element(
      "div",
      { class: "pair" },
      panels.map((one) => one.element),
    ),
    element("h2", {}, "To try"),
    element(
      "ol",
      {},
      [
        "Take both off line, write a claim on each, and look at the heads. Let them meet: two heads. The next operation has both before it: a merge.",
        "Write a claim on the laptop, and derive one from it on the phone. Refute what is built on: the derived claim is tainted, though nobody refuted it.",
        "Take both off line. Revoke the phone on the laptop, and write on the phone. Let them meet: the phone had not seen the revocation, and what it wrote is void.",
      ].map((text) => element("li", {}, text)),
    ),
  );
  requestAnimationFrame(refresh);
}

/** How many operations each has that the other lacks. */
function apart([one, other]) {
  const lacking = (here, there) => here.ordered.filter(({ id }) => !there.byId.has(id)).length;
  return `${one.name} has ${lacking(one, other)}, ${other.name} has ${lacking(other, one)}.`;
}
