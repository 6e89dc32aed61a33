// The operations of a log as a graph: a column for each operation, in total order, and a lane for each key.
//
// A log may have thousands of operations, and a browser draws some hundred shapes fluently. So only what is in view is
// drawn, and drawn anew for each movement. From far away an operation is a dot of its lane's line; from near it is a shape,
// whose form says of which type it is, so that nobody has to tell colours apart.

import { drawn, element } from "./elements.js";
import { CLAIM, CORRECTION, EVIDENCE, GRANT, INFERENCE, KINDS, REFUTATION, REVOCATION, summary } from "./operation.js";

const LANE = 38; // pixels: the height of a lane
const TOP = 22; // the room above the first one
const SIZE = 8; // half the size of a shape
const NEAR = 15; // pixels a column: from when shapes are drawn
const NEAREST = 90;

/** Type → the outline of its shape around 0, 0. */
const SHAPES = {
  [EVIDENCE]: `M-${SIZE},-${SIZE}h16v16h-16z`,
  [CLAIM]: "M-9,0a9,9 0 1,0 18,0a9,9 0 1,0 -18,0z",
  [CORRECTION]: "M0,-10L10,0L0,10L-10,0z",
  [REFUTATION]: "M-8,-4L-4,-8L0,-4L4,-8L8,-4L4,0L8,4L4,8L0,4L-4,8L-8,4L-4,0z",
  [GRANT]: "M0,-10L9.5,6H-9.5z",
  [REVOCATION]: "M0,10L9.5,-6H-9.5z",
  [INFERENCE]: "M-9,0L-4.5,-8H4.5L9,0L4.5,8H-4.5z",
};

/** What the shapes mean, in words beside each. */
export function legend() {
  const entry = (shape, words) =>
    element("li", {}, drawn("svg", { viewBox: "-13 -13 26 26", width: 22, height: 22, "aria-hidden": "true" }, shape), words);
  const shape = (type, more = "") => drawn("path", { d: SHAPES[type], class: `shape lane-0 ${more}` });
  return element(
    "ul",
    { class: "legend" },
    Object.entries(KINDS).map(([type, words]) => entry(shape(type), words)),
    entry([shape(CLAIM), drawn("circle", { r: 12, class: "ring" })], "head: nothing builds on it yet"),
    entry([shape(CLAIM, "void"), drawn("path", { d: "M-11,11L11,-11", class: "stroke" })], "void: struck out, dashed"),
    entry([shape(CLAIM), drawn("text", { x: 5, y: -4, class: "mark" }, "F")], "F: fork, its number was used twice"),
    entry([shape(CLAIM, "hollow")], "hollow: refuted, superseded, revoked or tainted"),
    entry(drawn("circle", { r: 8, class: "waits" }), "dotted: waits for an operation that has not come"),
  );
}

/** `copy` is the log; `chose(id)` is called when somebody points at an operation. */
export class Graph {
  constructor(copy, chose) {
    this.copy = copy;
    this.chose = chose;
    this.left = 0; // the column at the left edge, with a fraction
    this.scale = 34; // pixels a column
    this.count = 0; // how many operations are shown
    this.waiting = []; // and how many wait, behind them
    this.chosen = null;
    this.svg = drawn("svg", { role: "img", "aria-label": "the operations, in total order" });
    this.names = element("div", { class: "lane-names", "aria-hidden": "true" });
    this.frame = element(
      "div",
      {
        class: "graph",
        tabindex: 0,
        role: "application",
        "aria-label": "Graph of the log",
        "aria-describedby": "graph-help",
        wheel: (event) => this.#wheel(event),
        pointerdown: (event) => this.#grab(event),
        keydown: (event) => this.#key(event),
      },
      this.names,
      this.svg,
    );
    this.lanes = new Map((copy.keys ?? []).map((key, lane) => [key, lane])); // those that come first, then as they appear
    new ResizeObserver(() => this.draw()).observe(this.frame);
  }

  /** Show the first `count` operations with their `state`. Whoever looks at the end goes on looking at it. */
  show(count, state) {
    const isAtEnd = this.left + this.#columns() > this.#total();
    this.count = count;
    this.state = state;
    this.heads = new Set(state.heads);
    this.forked = new Set(state.forks.flatMap((fork) => fork.ops));
    for (const { author } of this.copy.ordered) if (!this.lanes.has(author)) this.lanes.set(author, this.lanes.size);
    this.edges = this.#edges();
    this.waiting = count === this.copy.ordered.length ? this.copy.waiting : [];
    const lanes = [...this.lanes.keys()].map((key) => this.copy.nameOf(key));
    if (this.waiting.length) lanes.push("waiting");
    this.names.replaceChildren(...lanes.map((name, lane) => element("span", { class: `lane-${lane % 8}` }, name)));
    this.svg.setAttribute("height", lanes.length * LANE + TOP);
    if (isAtEnd) this.newest();
    else this.draw();
  }

  /** Choose an operation and bring it into view; null chooses none. */
  choose(id) {
    this.chosen = id;
    const column = this.#columnOf(id);
    if (column !== null && (column < this.left + 2 || column > this.left + this.#columns() - 2))
      this.left = column - this.#columns() / 2;
    this.draw();
  }

  zoom(factor, middle = this.#columns() / 2) {
    const scale = Math.min(NEAREST, Math.max(this.#width() / (this.count + 2), 0.05, this.scale * factor));
    this.left += middle - (middle * this.scale) / scale;
    this.scale = scale;
    this.draw();
  }

  /** All of it, if that leaves room for shapes; else its end, from near. */
  begin() {
    this.fit();
    if (this.scale < NEAR) {
      this.scale = NEAR + 7;
      this.newest();
    }
  }

  fit() {
    this.scale = Math.min(34, this.#width() / (this.#total() + 1));
    this.left = -0.7;
    this.draw();
  }

  newest() {
    this.left = this.#total() - this.#columns();
    this.draw();
  }

  // --- drawing ---

  #width() {
    return this.svg.clientWidth || 600;
  }
  #columns() {
    return this.#width() / this.scale;
  }
  #total() {
    return this.count + this.waiting.length;
  }
  #x(column) {
    return (column - this.left) * this.scale;
  }
  #y(lane) {
    return TOP + lane * LANE;
  }
  #laneOf(index) {
    return this.lanes.get(this.copy.ordered[index].author);
  }
  #columnOf(id) {
    const waits = this.waiting.findIndex((one) => one.id === id);
    return waits >= 0 ? this.count + waits : (this.copy.byId.get(id)?.index ?? null);
  }

  draw() {
    if (!this.state) return;
    const most = this.#total() - this.#columns() + 1;
    this.left = Math.max(-0.7, Math.min(this.left, most));
    const first = Math.max(0, Math.floor(this.left) - 1);
    const end = Math.min(this.count, Math.ceil(this.left + this.#columns()) + 1);
    const near = this.scale >= NEAR;
    this.svg.replaceChildren(
      drawn("path", { class: "edges", d: this.#edgesAround(first, end, near) }),
      ...(near ? this.#shapes(first, end) : this.#dots(first, end)),
      ...this.waiting.map((one, at) => this.#waits(one, at)),
    );
  }

  /** [parent, child, whether other operations of their lane lie between them]: of a fork, one edge passes a twin. */
  #edges() {
    const last = new Map(); // the last operation of each lane so far
    return this.copy.ordered.flatMap(({ author, parents, index }) => {
      const previous = last.get(author);
      last.set(author, index);
      return parents.map((parent) => [parent, index, this.copy.ordered[parent].author === author && parent !== previous]);
    });
  }

  /** All edges in view as one path. From far away those within a lane are a line, of which one part covers another. */
  #edgesAround(first, end, near) {
    const parts = [];
    for (const [parent, child, passes] of this.edges) {
      if (child < first || parent > end || child >= this.count) continue;
      const lane = this.#laneOf(parent);
      const other = this.#laneOf(child);
      const [x, y, x2, y2] = [this.#x(parent), this.#y(lane), this.#x(child), this.#y(other)].map(
        (one) => Math.round(one * 10) / 10,
      );
      if (near && passes) parts.push(`M${x},${y}C${x + 6},${y - 24} ${x2 - 6},${y - 24} ${x2},${y2}`);
      else if (lane === other || !near) parts.push(`M${x},${y}L${x2},${y2}`);
      else parts.push(`M${x},${y}C${x + this.scale / 2},${y2} ${x},${y2} ${x2},${y2}`);
    }
    return parts.join("");
  }

  #dots(first, end) {
    const paths = new Map();
    for (let index = first; index < end; index += 1) {
      const lane = this.#laneOf(index);
      const kind = this.state.of.get(this.copy.ordered[index].id).void ? "dots void" : "dots";
      const key = `${kind} lane-${lane % 8}`;
      paths.set(key, `${paths.get(key) ?? ""}M${this.#x(index).toFixed(1)},${this.#y(lane)}h0`);
    }
    const chosen = this.copy.byId.get(this.chosen);
    const ring =
      chosen && chosen.index < this.count
        ? [drawn("circle", { class: "chosen", cx: this.#x(chosen.index), cy: this.#y(this.#laneOf(chosen.index)), r: 9 })]
        : [];
    return [...[...paths].map(([kind, d]) => drawn("path", { class: kind, d })), ...ring];
  }

  #shapes(first, end) {
    return this.copy.ordered.slice(first, end).map((one, at) => {
      const now = this.state.of.get(one.id);
      const lane = this.#laneOf(one.index);
      const dim = now.status !== "active" || now.taint.length ? "hollow" : "";
      return drawn(
        "g",
        { class: "node", "data-id": one.id, transform: `translate(${this.#x(first + at).toFixed(1)},${this.#y(lane)})` },
        drawn("title", {}, `${KINDS[one.type]} by ${this.copy.nameOf(one.author)}: ${summary(one).slice(0, 120)}`),
        one.id === this.chosen && drawn("circle", { r: 16, class: "chosen" }),
        drawn("path", { d: SHAPES[one.type] ?? SHAPES[CLAIM], class: `shape lane-${lane % 8} ${now.void ? "void" : dim}` }),
        now.void && drawn("path", { d: "M-11,11L11,-11", class: "stroke" }),
        this.heads.has(one.id) && drawn("circle", { r: 13, class: "ring" }),
        this.forked.has(one.id) && drawn("text", { x: 7, y: -8, class: "mark" }, "F"),
      );
    });
  }

  #waits({ id }, at) {
    const x = this.#x(this.count + at);
    const y = this.#y(this.lanes.size);
    return drawn(
      "g",
      { class: "node", "data-id": id, transform: `translate(${x.toFixed(1)},${y})` },
      drawn("title", {}, "waits for an operation that has not come"),
      drawn("path", { d: "M-40,0H-9", class: "waits" }),
      id === this.chosen && drawn("circle", { r: 16, class: "chosen" }),
      drawn("circle", { r: 8, class: "waits" }),
    );
  }

  // --- moving ---

  #wheel(event) {
    const sideways = event.deltaX || (event.shiftKey ? event.deltaY : 0);
    if (!event.ctrlKey && !sideways) return; // the page scrolls
    event.preventDefault();
    if (event.ctrlKey)
      this.zoom(Math.exp(-event.deltaY / 200), (event.clientX - this.svg.getBoundingClientRect().left) / this.scale);
    else this.pan(sideways / this.scale);
  }

  pan(columns) {
    this.left += columns;
    this.draw();
  }

  /** Drag the graph; who does not move chooses what is there. */
  #grab(down) {
    if (down.button !== 0) return;
    const { left } = this;
    let moved = false;
    const move = (event) => {
      moved ||= Math.abs(event.clientX - down.clientX) > 4;
      if (moved) {
        this.left = left - (event.clientX - down.clientX) / this.scale;
        this.draw();
      }
    };
    const release = (event) => {
      window.removeEventListener("pointermove", move);
      if (!moved && event.type === "pointerup") this.#point(event);
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", release, { once: true });
    window.addEventListener("pointercancel", release, { once: true });
  }

  #point(event) {
    const box = this.svg.getBoundingClientRect();
    const column = Math.round((event.clientX - box.left) / this.scale + this.left);
    const lane = Math.round((event.clientY - box.top - TOP) / LANE);
    const near = this.copy.ordered
      .slice(Math.max(0, column - 8), Math.min(this.count, column + 9))
      .filter((one) => this.#laneOf(one.index) === lane)
      .sort((one, other) => Math.abs(one.index - column) - Math.abs(other.index - column));
    const found = event.target.closest?.("[data-id]")?.dataset.id ?? near[0]?.id;
    if (found) this.chose(found);
  }

  #key(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const lane = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    const keys = {
      "+": () => this.zoom(1.4),
      "-": () => this.zoom(1 / 1.4),
      Home: () => this.#go(0),
      End: () => this.#go(this.count - 1),
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !(step || lane || event.key in keys)) return;
    event.preventDefault();
    const at = this.copy.byId.get(this.chosen)?.index ?? (step > 0 ? -1 : this.count);
    if (step) this.#go(at + step);
    else if (lane) this.#goInLane(at, lane);
    else keys[event.key]();
  }

  #go(index) {
    const one = this.copy.ordered[Math.max(0, Math.min(this.count - 1, index))];
    if (one) this.chose(one.id);
  }

  /** The nearest operation one lane up or down. */
  #goInLane(index, by) {
    const from = Math.min(Math.max(index, 0), this.count - 1);
    const wanted = this.#laneOf(from) + by;
    const found = this.copy.ordered
      .slice(0, this.count)
      .filter((one) => this.#laneOf(one.index) === wanted)
      .sort((one, other) => Math.abs(one.index - from) - Math.abs(other.index - from))[0];
    if (found) this.chose(found.id);
  }
}
