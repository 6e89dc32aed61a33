// One log: its graph, its claims, its grants.
//
// The address says what is looked at: `op` is the operation that is chosen, `at` how much of the log is shown. This file
// has the frame and the graph; claims.js and grants.js have the other two.

import { copyOf } from "./copy.js";
import { detailOf } from "./detail.js";
import { address, button, code, counted, element, field } from "./elements.js";
import { Graph, legend } from "./graph.js";
import { CLAIM } from "./operation.js";
import { derived } from "./state.js";

/** The last part of the address → what stands there in the navigation, and the module; the graph is in this file. */
const PARTS = {
  "": { name: "Graph" },
  claims: { name: "Claims", module: "./claims.js" },
  grants: { name: "Grants", module: "./grants.js" },
};

export default async function fill(place) {
  const {
    path: [, log, part = ""],
    page,
    signal,
  } = place;
  const copy = await copyOf(log);
  const links = Object.entries(PARTS).map(([one, { name }]) =>
    element("a", { href: address(["log", log, ...(one ? [one] : [])]), "aria-current": one === part && "page" }, name),
  );
  page.append(
    element("h1", {}, "Operation log"),
    element("p", { class: "lead" }, code(log)),
    element("nav", { class: "parts", "aria-label": "Parts of the log" }, links),
    agreement(copy, signal),
  );
  const { module } = PARTS[part] ?? PARTS[""];
  if (!module) return graph(copy, place);
  return (await import(module)).default(copy, place);
}

/** Whether the server names the state that this page has derived. */
function agreement(copy, signal) {
  const said = element("p", { class: "agreement", role: "status" }, "Deriving the state …");
  const compare = async () => {
    const { holds, here, there } = await copy.compare();
    said.replaceChildren(
      holds
        ? element(
            "span",
            { class: "good" },
            "✓ From the operations this page derives the state that the server names: checked here.",
          )
        : element(
            "span",
            { class: "bad" },
            "✗ The server names another state than the one that follows from these operations: ",
            code(there),
            ", not ",
            code(here),
            ".",
          ),
    );
  };
  const failed = (error) => said.replaceChildren(`The state was not compared: ${error.message}.`);
  compare().catch(failed);
  copy.whenGrown(() => compare().catch(failed), signal);
  copy.watch(signal);
  return said;
}

// --- the graph ---

function graph(copy, { page: place, query: first, signal }) {
  let query = first;
  const total = () => copy.ordered.length;
  const shownCount = () => Math.max(1, Math.min(total(), Number.parseInt(query.at, 10) || total()));
  const here = (changes) => address(["log", copy.log], { ...query, ...changes });
  const picture = new Graph(copy, (id) => location.replace(here({ op: id })));
  const slider = element("input", { type: "range", min: 1, max: total(), value: total() });
  slider.addEventListener("input", () => location.replace(here({ at: Number(slider.value) === total() ? "" : slider.value })));
  const play = button("Play", () => playing.toggle(), { class: "plain", "aria-pressed": "false" });
  const playing = player(
    play,
    () => {
      const next = shownCount() === total() ? 1 : shownCount() + 1;
      location.replace(here({ at: next === total() ? "" : next }));
      return next < total();
    },
    signal,
  );
  const counts = element("p", { class: "counts", "aria-live": "polite" });
  const detail = element("div", {});
  let detailed = ""; // what the detail was made of

  const update = (chosen) => {
    const isNew = chosen.op && chosen.op !== picture.chosen;
    query = chosen;
    const count = shownCount();
    const state = count === total() ? copy.state : derived(copy.log, copy.ordered, count);
    slider.max = total();
    slider.value = count;
    slider.setAttribute("aria-valuetext", `${count} of ${total()} operations`);
    counts.replaceChildren(...inWords(copy, state, count));
    picture.chosen = query.op ?? null;
    picture.show(count, state);
    if (isNew) picture.choose(query.op);
    // While the log grows the detail stays, unless something of it has changed.
    const made = JSON.stringify([query.op, state.of.get(query.op), copy.referringTo(query.op).length]);
    if (made === detailed) return;
    detailed = made;
    detail.replaceChildren(
      query.op
        ? detailOf(copy, query.op, state)
        : element("p", { class: "hint" }, "Choose an operation: it is shown here, and its signature is checked."),
    );
  };

  place.append(
    element(
      "div",
      { class: "tools" },
      field("log-at", "How much of the log", slider),
      play,
      button("−", () => picture.zoom(1 / 1.4), { class: "plain", "aria-label": "farther" }),
      button("+", () => picture.zoom(1.4), { class: "plain", "aria-label": "nearer" }),
      button("All", () => picture.fit(), { class: "plain" }),
      button("Newest", () => picture.newest(), { class: "plain" }),
    ),
    counts,
    picture.frame,
    element(
      "p",
      { class: "hint", id: "graph-help" },
      "Time goes to the right, in total order. Drag to move; Ctrl and the wheel, or + and −, bring it nearer. Arrow keys go from operation to operation.",
    ),
    element("details", {}, element("summary", {}, "What the shapes mean"), legend()),
    detail,
  );
  copy.whenGrown(() => update(query), signal);
  requestAnimationFrame(() => {
    picture.begin();
    if (query.op) picture.choose(query.op);
  });
  update(query);
  return update;
}

/** Calls `step` a few times a second, from one press of the button to the next, or until it returns false. */
function player(pressed, step, signal) {
  let timer = null;
  const toggle = () => {
    if (timer) clearInterval(timer);
    timer = timer
      ? null
      : setInterval(() => {
          if (!step()) toggle();
        }, 300);
    pressed.setAttribute("aria-pressed", String(timer !== null));
    pressed.textContent = timer ? "Stop" : "Play";
  };
  signal.addEventListener("abort", () => clearInterval(timer));
  return { toggle };
}

/** The state in a line. */
function inWords(copy, state, count) {
  const all = copy.ordered.slice(0, count).map((one) => ({ ...state.of.get(one.id), type: one.type }));
  const claims = all.filter((one) => one.type === CLAIM && !one.void);
  const facts = [
    `${count} of ${counted(copy.ordered.length, "operation")}`,
    `${counted(claims.filter((one) => one.effective).length, "effective claim")}`,
    `${claims.filter((one) => one.taint.length).length} tainted`,
    `${claims.filter((one) => one.status === "refuted").length} refuted`,
    `${claims.filter((one) => one.status === "superseded").length} superseded`,
    `${counted(all.filter((one) => one.void).length, "void operation")}`,
    counted(state.heads.length, "head"),
    counted(state.forks.length, "fork"),
  ];
  return facts.map((text) => element("span", {}, text));
}
