// Objects: what lies under which namespace and key, and each object with its ETag and the time that it has left.
//
// The first GET of some objects is their last (objects §6.2). HEAD tells which: its answer says no-store. The content of
// such an object is asked for only when the reader says so, and knows that nobody will read it again.
//
// JSON is shown as it came, indented as text: whoever parses it in a browser loses digits of great integers.

import { ask, pages, repeat } from "./ask.js";
import {
  address,
  button,
  code,
  counted,
  element,
  facts,
  field,
  shownText,
  span,
  table,
  textInput,
  when,
} from "./elements.js";

const PAGE = 100;
const LOOKED_AT = 1000; // objects among which namespaces are counted, for each time that the reader asks

export default function fill(place) {
  return place.path[0] === "object" ? one(place) : list(place);
}

// --- the list ---

async function list({ page, query: first, signal }) {
  let query = first;
  let pagesWanted = 1;
  let running = 0;
  const here = (changes) => address(["objects"], { ...query, ...changes });
  const namespace = textInput({ value: first.namespace ?? "" });
  const key = textInput({ type: "search", value: first.key ?? "" });
  const rows = element("div", { "aria-live": "polite" });
  namespace.addEventListener("input", () => location.replace(here({ namespace: namespace.value })));
  key.addEventListener("input", () => location.replace(here({ key: key.value })));

  const read = async () => {
    const asked = ++running;
    const found = [];
    const parameters = new URLSearchParams({
      limit: PAGE,
      ...(query.namespace && { namespace: query.namespace }),
      ...(query.key && { key_contains: query.key }),
    });
    let more = false;
    let number = 0;
    for await (const { items } of pages(`/objects/search?${parameters}`)) {
      if (number === pagesWanted) {
        more = true;
        break;
      }
      found.push(...items);
      number += 1;
    }
    if (asked === running)
      rows.replaceChildren(
        objectTable(found, more, here),
        more
          ? button(
              "More",
              () => {
                pagesWanted += 1;
                read();
              },
              { class: "plain" },
            )
          : "",
      );
  };
  page.append(
    element("h1", {}, "Objects"),
    element("p", { class: "lead" }, "JSON under a namespace and a key."),
    namespaces((name) => here({ namespace: name })),
    element(
      "div",
      { class: "tools" },
      field("objects-namespace", "Namespace, exactly", namespace),
      field("objects-key", "Key contains", key),
    ),
    rows,
  );
  await read();
  repeat(900, read, signal);
  return async (next) => {
    query = next;
    pagesWanted = 1;
    await read();
  };
}

/** The namespaces among the first objects. The server has no list of them, so the reader says how far to look. */
function namespaces(addressOf) {
  const counts = new Map();
  const names = element("ul", { class: "counts" });
  const said = element("p", { class: "hint", role: "status" });
  const further = button("Look further", () => look(), { class: "plain", hidden: true });
  const unread = pages(`/objects?limit=${LOOKED_AT}`);
  let total = 0;
  async function look() {
    const { value, done } = await unread.next();
    further.hidden = done || value.items.length < LOOKED_AT;
    for (const { namespace } of value?.items ?? []) {
      counts.set(namespace, (counts.get(namespace) ?? 0) + 1);
      total += 1;
    }
    const sorted = [...counts].sort(([, one], [, other]) => other - one);
    names.replaceChildren(
      ...sorted.slice(0, PAGE).map(([name, many]) => element("li", {}, element("a", { href: addressOf(name) }, name), ` ${many}`)),
    );
    said.textContent = `${counted(counts.size, "namespace")} among ${further.hidden ? "" : "the first "}${counted(total, "object")}`;
  }
  const failed = (error) => {
    said.textContent = `The namespaces could not be read: ${error.message}`;
  };
  look().catch(failed);
  return element("section", { "aria-label": "Namespaces" }, said, names, further);
}

function objectTable(found, more, here) {
  const rows = found.map((item) =>
    element(
      "tr",
      {},
      element("td", {}, element("a", { href: here({ namespace: item.namespace }) }, item.namespace)),
      element("td", {}, element("a", { href: address(["object", item.id]) }, item.key)),
      element("td", {}, when(item.created_at)),
      element("td", {}, timeLeft(item) ?? ""),
    ),
  );
  return table(
    more ? `The first ${counted(found.length, "object")}` : counted(found.length, "object"),
    ["Namespace", "Key", "Created", "Time left"],
    rows,
  );
}

/** How long an object is still there, as far as its metadata tell: they may have been set after it was created. */
function timeLeft({ metadata, created_at: created }) {
  const seconds = metadata?.["omp.ttl_sec"];
  if (!Number.isSafeInteger(seconds)) return null;
  return span((new Date(created).getTime() + seconds * 1000 - Date.now()) / 1000);
}

// --- one object ---

async function one({ path: [, id], page, signal }) {
  const route = `/objects/${encodeURIComponent(id)}`;
  const head = await ask(route, { method: "HEAD" });
  const isLast = /no-store/.test(head.headers.get("Cache-Control") ?? "");
  const content = element("div", {});
  page.append(element("p", {}, element("a", { href: "#/objects" }, "All objects")), content);
  if (!isLast) return content.append(...shown(await (await ask(route)).text(), head.headers.get("ETag"), signal));
  content.append(
    element("h1", {}, "An object that is read once"),
    element("p", {}, "Whoever reads its content first is the last to see it: the server deletes it in the same step."),
    facts([
      ["id", code(id)],
      ["ETag", code(head.headers.get("ETag"))],
    ]),
    button("Read it, and so delete it", async () => {
      try {
        content.replaceChildren(
          element("p", { class: "bad" }, "It is deleted now."),
          ...shown(await (await ask(route)).text(), head.headers.get("ETag"), signal),
        );
      } catch (error) {
        content.append(element("p", { class: "bad", role: "alert" }, error.message));
      }
    }),
  );
}

function shown(text, etag, signal) {
  const item = JSON.parse(text);
  const left = element("span", {});
  const count = () => {
    left.textContent = timeLeft(item) ?? "as long as nobody deletes it";
  };
  count();
  repeat(1000, async () => count(), signal);
  return [
    element("h1", {}, item.key),
    facts([
      ["namespace", element("a", { href: address(["objects"], { namespace: item.namespace }) }, item.namespace)],
      ["id", code(item.id)],
      ["ETag", code(etag)],
      ["created", when(item.created_at)],
      ["time left", left],
    ]),
    element("h2", {}, "As the server sent it"),
    shownText(indented(text), "the object"),
  ];
}

/** JSON with a line for each member: the same characters, but for the white space between them. */
function indented(text) {
  let depth = 0;
  const line = () => `\n${"  ".repeat(depth)}`;
  const opened = (piece) => ((depth += 1), piece + line());
  const closed = (piece) => ((depth -= 1), line() + piece);
  const forms = { "{": opened, "[": opened, "}": closed, "]": closed, ",": (piece) => piece + line(), ":": () => ": " };
  return text.replace(/"(?:[^"\\]|\\.)*"|\s+|\{\s*\}|\[\s*\]|[{}[\],:]/g, (piece) => forms[piece]?.(piece) ?? piece.trim());
}
