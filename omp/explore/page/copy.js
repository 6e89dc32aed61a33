// This page's own copy of a log. It is read once, and then kept up to date as any peer would do it: by asking for what is
// missing (oplog §7.3), whenever the server tells that something has happened (oplog §7.6).

import { ask, askJson, follow } from "./ask.js";
import { hex, sha256, utf8 } from "./keys.js";
import { GRANT, namedBy, readOperations } from "./operation.js";
import { arranged, derived, rootOf, stateDocument } from "./state.js";

export const MOST = 20_000; // operations; the causal past of each is kept, whose size grows with the square

export const routeOf = (log) => `/logs/${encodeURIComponent(log)}`;

/** One copy at a time is kept, so that the views of a log need not read it again. */
let kept = null;

export async function copyOf(log) {
  if (kept?.log !== log) kept = new LogCopy(log);
  await kept.catchUp();
  return kept;
}

class LogCopy {
  #grown = new Set(); // whom to tell

  constructor(log) {
    this.log = log;
    this.root = rootOf(log);
    this.ordered = []; // every operation in total order
    this.state = null; // what follows from them
    this.waiting = []; // what the server has, but cannot store yet: {id, missing}
    this.names = new Map([[this.root, "root"]]); // key ID → what people call it
    this.byId = new Map();
    this.running = Promise.resolve();
  }

  /** Take in what is missing, one call after the other. */
  catchUp() {
    this.running = this.running.catch(() => {}).then(() => this.#read());
    return this.running;
  }

  async #read() {
    const route = routeOf(this.log);
    const { ops } = await askJson(`${route}/heads`);
    if (ops > MOST) throw new Error(`This log has ${ops} operations, and this page shows logs of up to ${MOST}.`);
    const answer = this.ordered.length
      ? await ask(`${route}/missing`, { method: "POST", body: { heads: this.state.heads }, accept: "application/x-ndjson" })
      : await ask(`${route}/operations`, { accept: "application/x-ndjson" });
    const fresh = (await readOperations(await answer.text())).filter((one) => !this.byId.has(one.id));
    this.waiting = (await askJson(`${route}/pending`)).items;
    if (fresh.length || !this.state) this.#take(fresh);
  }

  #take(fresh) {
    this.ordered = arranged([...this.ordered, ...fresh]);
    this.state = derived(this.log, this.ordered);
    this.byId = new Map(this.ordered.map((one) => [one.id, one]));
    for (const { type, body } of this.ordered) {
      // x_name is no part of the protocol: the demo's writers say by it whose key they let in.
      if (type === GRANT && typeof body.x_name === "string") this.names.set(body.grantee, body.x_name.slice(0, 40));
    }
  }

  /** What a key is called: its name, or the beginning of the key. */
  nameOf(key) {
    return this.names.get(key) ?? `${key.split(":").at(-1).slice(0, 8)}…`;
  }

  /** Whether the server names the state that follows from the operations here: {holds, here, there}. */
  async compare() {
    const here = `omp:state:sha256:${hex(await sha256(utf8(stateDocument(this.log, this.ordered, this.state))))}`;
    const { state: there } = await askJson(`${routeOf(this.log)}/heads`);
    return { holds: here === there, here, there };
  }

  /** The operations that name `id`: [in which words, the operation]. */
  referringTo(id) {
    return this.ordered.flatMap((other) => namedBy(other).flatMap(([, named, back]) => (named === id ? [[back, other]] : [])));
  }

  /** Call `changed` whenever the copy has grown, until `signal` is aborted. */
  whenGrown(changed, signal) {
    this.#grown.add(changed);
    signal.addEventListener("abort", () => this.#grown.delete(changed));
  }

  /** Keep the copy up to date, until `signal` is aborted. */
  watch(signal) {
    let planned = false;
    return follow(
      `${routeOf(this.log)}/events`,
      () => {
        if (planned) return; // what comes meanwhile is read by the same catching up
        planned = true;
        setTimeout(() => {
          planned = false;
          if (!signal.aborted)
            this.catchUp().then(
              () => this.#grown.forEach((changed) => changed()),
              () => {},
            );
        }, 50);
      },
      signal,
    );
  }
}
