// The places of the registry on a map, and searching among them: what is around a point, smallest first, and which other
// server may know more (mrs §6, §7).

import { askJson, repeat } from "./ask.js";
import { address, button, code, counted, element, facts, field, textInput, when } from "./elements.js";
import { distance, Globe, shapeOf } from "./map.js";
import { currentPlaces, feedPosition } from "./registry.js";
import { vector } from "./sphere.js";

const RANGES = [100, 1000, 10_000, 100_000, 1_000_000]; // metres
const MOST_ROWS = 200;

export default async function fill({ page, query: first, signal }) {
  let query = first;
  let all = await currentPlaces();
  let seen = feedPosition();
  let looked = null; // what the map was last brought to
  let searches = 0;
  const here = (changes) => address(["places"], { ...query, ...changes });
  const map = new Globe(
    ({ lat, lon }) => {
      location.hash = here({ lat: lat.toFixed(5), lon: lon.toFixed(5), range: range.value, place: "" });
    },
    ({ id }) => {
      location.hash = here({ place: id });
    },
  );
  const range = element(
    "select",
    {},
    RANGES.map((one) => element("option", { value: one }, distance(one))),
  );
  const find = textInput({ type: "search", value: first.find ?? "" });
  const found = element("section", { "aria-label": "What is found", "aria-live": "polite" });
  const chosen = element("div", {});
  range.value = RANGES[2];
  range.addEventListener("change", () => {
    if (query.lat) location.replace(here({ range: range.value }));
  });
  find.addEventListener("input", () => location.replace(here({ find: find.value, lat: "", lon: "" })));

  const choose = () => {
    const one = all.find(({ id }) => id === query.place);
    map.chosen = one?.id ?? null;
    chosen.replaceChildren(...(one ? [detail(one)] : []));
    if (one && looked !== one.id) {
      const { middle, reach } = shapeOf(one);
      map.lookAt(middle, Math.max(reach * 4, 20));
      looked = one.id;
    }
  };

  async function search() {
    const number = (searches += 1);
    const [lat, lon, metres] = [query.lat, query.lon, query.range ?? range.value].map(Number);
    if (![lat, lon, metres].every(Number.isFinite)) throw new Error("latitude, longitude and range must be numbers");
    if (RANGES.includes(metres)) range.value = metres;
    const center = vector({ lat, lon });
    map.search = { center, range: metres };
    const key = `${lat} ${lon} ${metres}`;
    if (looked !== key && !query.place) {
      map.lookAt(center, metres * 1.3);
      looked = key;
    }
    const { results, referrals, truncated } = await askJson("/search", {
      method: "POST",
      body: { location: { lat, lon }, range: metres },
    });
    if (number !== searches) return; // another one has been begun meanwhile
    found.replaceChildren(
      element(
        "h2",
        {},
        `${counted(results.length, "place")} within ${distance(metres)} of ${lat.toFixed(4)}°, ${lon.toFixed(4)}°`,
      ),
      truncated ? element("p", {}, "There is more: choose a smaller range.") : "",
      list(results, here),
      element("h3", {}, "Who may know more"),
      referred(referrals, { lat, lon, range: metres }),
    );
  }

  const update = async (next) => {
    query = next;
    choose();
    if (query.lat && query.lon) {
      await search().catch((error) =>
        found.replaceChildren(element("p", { class: "bad", role: "alert" }, `The search was refused: ${error.message}`)),
      );
    } else {
      map.search = null;
      const words = (query.find ?? "").toLowerCase();
      const matching = all.filter((one) => `${one.service_point} ${one.owner} ${one.id}`.toLowerCase().includes(words));
      found.replaceChildren(
        element(
          "h2",
          {},
          words ? `${counted(matching.length, "place")} of that name` : `${counted(matching.length, "registered place")}`,
        ),
        list(matching.slice(0, MOST_ROWS), here),
      );
    }
    map.draw();
  };

  page.append(
    element("h1", {}, "Places"),
    element("p", { class: "lead" }, "Point at the map to search there."),
    element(
      "div",
      { class: "tools" },
      field("places-range", "Range of a search", range),
      field("places-find", "Find by name", find),
      button("−", () => map.zoom(1 / 1.6), { class: "plain", "aria-label": "farther" }),
      button("+", () => map.zoom(1.6), { class: "plain", "aria-label": "nearer" }),
      button("All", () => map.all(), { class: "plain" }),
      await cities(here),
    ),
    element(
      "div",
      { class: "beside" },
      element(
        "div",
        {},
        map.frame,
        element(
          "p",
          { class: "hint", id: "map-help" },
          "Drag or use the arrow keys to turn the earth; Ctrl and the wheel, or + and −, bring it nearer; Enter searches in the middle.",
        ),
        chosen,
      ),
      found,
    ),
  );
  map.show(all);
  requestAnimationFrame(() => {
    looked = null;
    update(query);
  });
  repeat(
    900,
    async () => {
      const now = await currentPlaces();
      if (feedPosition() === seen) return;
      [all, seen] = [now, feedPosition()];
      map.show(all);
      await update(query);
    },
    signal,
  );
  return update;
}

/** In the demo: where to search. */
async function cities(here) {
  if (document.body.dataset.demo === undefined) return "";
  const guide = await askJson("/explore/demo.json");
  return Object.entries(guide.cities).map(([name, [lat, lon]]) =>
    button(
      name,
      () => {
        location.hash = here({ lat, lon, range: name === "Fiji" ? 100_000 : 10_000, place: "" });
      },
      { class: "plain" },
    ),
  );
}

function list(registrations, here) {
  return element(
    "ol",
    { class: "found" },
    registrations.map((one) =>
      element(
        "li",
        {},
        element("a", { href: here({ place: one.id }) }, one.service_point ?? "no service here"),
        element(
          "div",
          { class: "hint" },
          [
            one.distance === undefined ? null : `${distance(one.distance)} away`,
            size(one),
            one.foad ? "closed: no search finds it" : null,
          ]
            .filter(Boolean)
            .join(", "),
        ),
      ),
    ),
  );
}

const size = ({ space }) =>
  space.type === "sphere" ? `a sphere of ${distance(space.radius)}` : `a polygon of ${counted(space.vertices.length, "corner")}`;

function detail(one) {
  const corner = ({ lat, lon }) => element("div", {}, `latitude ${lat}°, longitude ${lon}°`);
  return element(
    "section",
    { class: "detail", "aria-label": "The chosen place" },
    element("h2", { role: "status" }, one.service_point ?? "No service here"),
    facts([
      ["space", size(one)],
      [
        one.space.type === "sphere" ? "centre" : "corners",
        one.space.type === "sphere" ? corner(one.space.center) : one.space.vertices.slice(0, 50).map(corner),
      ],
      ["owner", one.owner],
      ["id", code(one.id)],
      [
        "registered at",
        [code(one.origin_server), one.origin_id === one.id ? "" : " as ", one.origin_id === one.id ? "" : code(one.origin_id)],
      ],
      ["version", `${one.version}`],
      ["created", when(one.created)],
      ["changed", when(one.updated)],
    ]),
  );
}

/** The other servers. Each has an explorer of its own, where the same search goes on; nothing is asked of it from here. */
function referred(referrals, query) {
  if (!referrals.length) return element("p", { class: "hint" }, "Nobody: this server refers to no other.");
  return element(
    "ul",
    {},
    referrals.map(({ server, hint }) => {
      const link =
        /^https?:\/\/[^/]/.test(server) &&
        element("a", { href: `${server}/explore${address(["places"], query)}`, rel: "noreferrer" }, `Search at ${server}`);
      return element("li", {}, link || code(server), hint ? `: ${hint}` : "");
    }),
  );
}
