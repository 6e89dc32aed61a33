// A map: the earth as a globe, to be turned and brought nearer, with the places on it at their true size.
//
// It asks no other host for pictures: the coastlines are a file of this page (coast.json says where they are from). As in
// graph.js only what is in view is drawn: a place is a dot, and a shape where it is large enough to be seen.

import { askJson } from "./ask.js";
import { drawn, element } from "./elements.js";
import { around, circle, degrees, Outlook, outline, position, radians, RADIUS, vector } from "./sphere.js";

const FARTHEST = 0.45; // the radius of the earth, as a part of the picture
const NEAREST = 0.05; // metres a pixel
const SEEN = 3; // pixels: a place with a smaller radius is a dot only
const MOST_SHAPES = 300;
const CLOSE = 8; // pixels: who points so near to a place means that place
const COAST_FROM = 40; // metres a pixel: from nearer the coastlines are too coarse to mean anything

/** What is drawn of a registration: its middle, its reach in metres, and the points of its rim. */
export function shapeOf({ space }) {
  if (space.type === "sphere")
    return { middle: vector(space.center), reach: space.radius, rim: () => circle(vector(space.center), space.radius) };
  const vertices = space.vertices.map(vector);
  return { ...around(vertices), rim: () => outline(vertices) };
}

export class Globe {
  /** `pointed(position)` is called when somebody points at the earth, `chose(registration)` at a place on it. */
  constructor(pointed, chose) {
    this.pointed = pointed;
    this.chose = chose;
    this.spots = []; // what is drawn: {x, y, registration}
    this.center = vector({ lat: 20, lon: 15 });
    this.scale = null; // pixels for the radius of the earth; null: all of it
    this.places = []; // {registration, shape}
    this.chosen = null; // the id of a registration
    this.search = null; // {center, range}
    this.coast = [];
    this.svg = drawn("svg", { role: "img", "aria-label": "The earth, with the registered places" });
    this.scaleBar = element("p", { class: "scale-bar", "aria-hidden": "true" });
    this.frame = element(
      "div",
      {
        class: "map",
        tabindex: 0,
        role: "application",
        "aria-label": "Map",
        "aria-describedby": "map-help",
        wheel: (event) => this.#wheel(event),
        pointerdown: (event) => this.#grab(event),
        keydown: (event) => this.#key(event),
      },
      this.svg,
      this.scaleBar,
    );
    new ResizeObserver(() => this.draw()).observe(this.frame);
    askJson("/explore/coast.json").then(({ unit, lines }) => {
      this.coast = lines.map((numbers) => points(numbers, unit));
      this.draw();
    });
  }

  show(registrations) {
    this.places = registrations.map((registration) => ({ registration, shape: shapeOf(registration) }));
    this.draw();
  }

  /** Look at a place from so near that `metres` around it are in the picture. */
  lookAt(place, metres) {
    this.center = place;
    this.scale = this.#bounded((RADIUS * Math.min(this.#width(), this.#height()) * 0.4) / metres);
    this.draw();
  }

  all() {
    this.scale = null;
    this.draw();
  }

  zoom(factor) {
    this.scale = this.#bounded(this.#scale() * factor);
    this.draw();
  }

  // --- drawing ---

  #width() {
    return this.svg.clientWidth || 600;
  }
  #height() {
    return this.svg.clientHeight || 480;
  }
  #scale() {
    return this.scale ?? FARTHEST * Math.min(this.#width(), this.#height());
  }
  #bounded(scale) {
    return Math.max(FARTHEST * Math.min(this.#width(), this.#height()), Math.min(RADIUS / NEAREST, scale));
  }
  #outlook() {
    return new Outlook(this.center, this.#scale(), this.#width(), this.#height());
  }

  draw() {
    const view = this.#outlook();
    const metres = RADIUS / view.scale;
    const shapes = [];
    const dots = [];
    this.spots = [];
    for (const { registration, shape } of this.places) {
      const point = view.project(shape.middle);
      const size = shape.reach / metres;
      if (!view.holds(point, size)) continue;
      this.spots.push({ x: point[0], y: point[1], registration });
      const isChosen = registration.id === this.chosen;
      if ((size > SEEN && shapes.length < MOST_SHAPES) || isChosen) {
        shapes.push(
          drawn(
            "path",
            {
              class: `place ${isChosen ? "chosen-place" : ""} ${registration.foad ? "closed" : ""}`,
              "data-id": registration.id,
              d: view.path(shape.rim(), true),
            },
            drawn("title", {}, registration.service_point ?? "no service here"),
          ),
        );
      }
      if (size <= 2 * SEEN || isChosen) dots.push(`M${point[0].toFixed(1)},${point[1].toFixed(1)}h0`);
    }
    const middle = this.search && view.project(this.search.center);
    this.svg.replaceChildren(
      drawn("circle", {
        class: "sea",
        cx: view.width / 2,
        cy: view.height / 2,
        r: Math.min(view.scale, 4 * (view.width + view.height)),
      }),
      drawn("path", {
        class: "grid",
        d: graticule(metres)
          .map((line) => view.path(line))
          .join(""),
      }),
      drawn("path", { class: "coast", d: metres > COAST_FROM ? this.coast.map((line) => view.path(line)).join("") : "" }),
      ...shapes,
      drawn("path", { class: "places", d: dots.join("") }),
      ...(middle && middle[2] > 0
        ? [
            drawn("path", { class: "range", d: view.path(circle(this.search.center, this.search.range), true) }),
            drawn("path", { class: "cross", d: `M${middle[0] - 7},${middle[1]}h14M${middle[0]},${middle[1] - 7}v14` }),
          ]
        : []),
    );
    this.#measure(metres);
  }

  /** A bar of a round length. */
  #measure(metres) {
    const wanted = 110 * metres;
    const power = 10 ** Math.floor(Math.log10(wanted));
    const length = [5, 2, 1].find((one) => one * power <= wanted) * power;
    this.scaleBar.replaceChildren(
      drawn(
        "svg",
        { width: length / metres + 2, height: 8 },
        drawn("path", { d: `M1,0v7h${length / metres}v-7`, class: "cross" }),
      ),
      ` ${distance(length)}`,
    );
  }

  // --- moving ---

  /** Move the middle by pixels. It stops at a pole, and near one it goes around it no faster than the eye can follow. */
  #turn(right, down) {
    const { lat, lon } = position(this.center);
    const turn = degrees(1 / this.#scale());
    const east = (right * turn) / Math.max(0.15, Math.cos(radians(lat)));
    this.center = vector({ lat: Math.max(-90, Math.min(90, lat - down * turn)), lon: lon + east });
    this.draw();
  }

  #wheel(event) {
    if (!event.ctrlKey) return; // the page scrolls
    event.preventDefault();
    this.zoom(Math.exp(-event.deltaY / 200));
  }

  /** Drag the earth; who does not move points at it. */
  #grab(down) {
    if (down.button !== 0) return;
    let [x, y, moved] = [down.clientX, down.clientY, false];
    const move = (event) => {
      moved ||= Math.hypot(event.clientX - down.clientX, event.clientY - down.clientY) > 4;
      if (!moved) return;
      this.#turn(x - event.clientX, y - event.clientY);
      [x, y] = [event.clientX, event.clientY];
    };
    const release = (event) => {
      window.removeEventListener("pointermove", move);
      if (moved || event.type !== "pointerup") return;
      const box = this.svg.getBoundingClientRect();
      const [left, top] = [event.clientX - box.left, event.clientY - box.top];
      const away = (spot) => Math.hypot(spot.x - left, spot.y - top);
      const near = this.spots.filter((spot) => away(spot) <= CLOSE).sort((one, other) => away(one) - away(other))[0];
      const place = this.#outlook().placeAt(left, top);
      if (near) this.chose(near.registration);
      else if (place) this.pointed(position(place));
    };
    window.addEventListener("pointermove", move);
    window.addEventListener("pointerup", release, { once: true });
    window.addEventListener("pointercancel", release, { once: true });
  }

  #key(event) {
    const keys = {
      ArrowLeft: () => this.#turn(-60, 0),
      ArrowRight: () => this.#turn(60, 0),
      ArrowUp: () => this.#turn(0, -60),
      ArrowDown: () => this.#turn(0, 60),
      "+": () => this.zoom(1.6),
      "-": () => this.zoom(1 / 1.6),
      Enter: () => this.pointed(position(this.center)),
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  }
}

/** The points of a coastline: longitude and latitude of the first, then differences, in parts of a degree. */
function points(numbers, unit) {
  const line = [];
  let [lon, lat] = [0, 0];
  for (let at = 0; at < numbers.length; at += 2) {
    [lon, lat] = [lon + numbers[at], lat + numbers[at + 1]];
    line.push(vector({ lat: lat / unit, lon: lon / unit }));
  }
  return line;
}

let grid = null;

/** Meridians and parallels, 30 degrees apart; from near there are none. */
function graticule(metres) {
  grid ??= [
    ...Array.from({ length: 12 }, (_, at) =>
      Array.from({ length: 61 }, (_, step) => vector({ lat: step * 3 - 90, lon: at * 30 - 180 })),
    ),
    ...[-60, -30, 0, 30, 60].map((lat) => Array.from({ length: 121 }, (_, step) => vector({ lat, lon: step * 3 - 180 }))),
  ];
  return metres > 2000 ? grid : [];
}

/** A distance in words. */
export function distance(metres) {
  if (metres >= 1000) return `${Number((metres / 1000).toPrecision(3)).toLocaleString("en")} km`;
  return `${Number(metres.toPrecision(3))} m`;
}
