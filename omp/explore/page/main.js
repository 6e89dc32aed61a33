// The explorer: what a server holds, to be looked at.
//
// Read in this order. elements.js makes what is shown, ask.js asks the server, keys.js computes with keys. Then a file for
// each view, in the table of views.js. Each exports one function: it is given a place (where the address leads, an
// element to fill, a signal that is aborted when the reader leaves) and fills it. A view knows its protocol's routes and
// nothing of the other views.
//
// The address behind the # names everything that is looked at, so that it can be copied, and the browser's buttons for
// back and forward work: #/log/omp:id:…/claims?claim=omp:op:…
//
// This file has the navigation, and what happens when the address changes.

import { address, button, element, placeOf } from "./elements.js";
import { VIEWS } from "./views.js";

const view = document.getElementById("view");
let shown = null; // {path, leaving: AbortController, update}: what is on the page

for (const [first, { name }] of Object.entries(VIEWS)) {
  if (name)
    document.getElementById("views").append(element("a", { href: address(first ? [first] : []), "data-view": first }, name));
}

/** Show what the address names. */
async function show() {
  const { path, query } = placeOf(location.hash);
  if (shown?.update && shown.path.join("/") === path.join("/")) return shown.update(query);
  shown?.leaving.abort();
  const leaving = new AbortController();
  const now = (shown = { path, leaving, update: null });
  const { module, name } = VIEWS[path[0] ?? ""] ?? VIEWS[""];
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.dataset.view === (path[0] ?? "") || link.dataset.view === `${path[0]}s`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const page = element("div", { class: "page" });
  try {
    const { default: fill } = await import(module);
    const update = await fill({ path, query, page, signal: leaving.signal });
    if (now !== shown) return;
    now.update = update ?? null;
  } catch (error) {
    if (leaving.signal.aborted) return;
    page.replaceChildren(failure(error));
  }
  document.title = `${page.querySelector("h1")?.textContent ?? name ?? "Explorer"} · OMP server`;
  view.replaceChildren(page);
  view.dataset.shown = path.join("/") || "overview"; // for the tests
  if (document.activeElement === document.body && path.length) view.focus({ preventScroll: true });
}

function failure(error) {
  if (!error.status) console.error(error);
  const why =
    error.status === 401 || error.status === 403
      ? [
          element(
            "p",
            {},
            "The server answers this only to somebody whom it knows: ",
            element("a", { href: address(["key"]) }, "enter a key"),
            ".",
          ),
        ]
      : [];
  return element(
    "div",
    { class: "message", role: "alert" },
    element("h1", {}, "This cannot be shown"),
    element("p", {}, error.message),
    why,
    button("Try again", () => {
      shown = null;
      show();
    }),
  );
}

window.addEventListener("hashchange", show);
// A page that is left may be kept by the browser, with its streams, which would take the connections of the next one.
window.addEventListener("pagehide", () => {
  shown?.leaving.abort();
  shown = null;
});
window.addEventListener("pageshow", (event) => {
  if (event.persisted) show();
});
show();
