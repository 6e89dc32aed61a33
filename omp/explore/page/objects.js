// Objects: what lies under which namespace and key, and each object with its ETag and the time that it has left.
//
// The first GET of some objects is their last (objects §6.2). HEAD tells which: its answer says no-store. The content of
// such an object is asked for only when the reader says so, and knows that nobody will read it again.

import { ask, askJson, pages, repeat } from "./ask.js";
import {
  address,
  button,
  code,
  counted,
  element,
  facts,
  field,
  pretty,
  shownText,
  span,
  table,
  textInput,
  when,
} from "./elements.js";

const PAGE = 100;

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
  if (!isLast) return content.append(...shown(await askJson(route), head.headers.get("ETag"), signal));
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
          ...shown(await askJson(route), head.headers.get("ETag"), signal),
        );
      } catch (error) {
        content.append(element("p", { class: "bad", role: "alert" }, error.message));
      }
    }),
  );
}

function shown(item, etag, signal) {
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
    element("h2", {}, "Content"),
    shownText(pretty(item.content), "the content"),
    element("h2", {}, "Metadata"),
    shownText(pretty(item.metadata), "the metadata"),
  ];
}
