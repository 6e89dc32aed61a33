// The page: every route of /openapi.json under its tag, the filter, and addresses that lead to a route.

const METHODS = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/** The routes of the document: {id, path, method, operation, parameters, tags, text}; `text` is what the filter reads. */
function routesOf(api) {
  const about = Object.fromEntries((api.tags ?? []).map((tag) => [tag.name, tag.description ?? ""]));
  return Object.entries(api.paths ?? {}).flatMap(([path, item]) => METHODS.filter((method) => item[method]).map((method) => {
    const operation = item[method];
    const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])].map(resolved);
    const tags = operation.tags?.length ? operation.tags : ["other"];
    const text = [path, operation.summary, operation.description, operation.operationId, ...tags, ...tags.map((tag) => about[tag]),
      ...parameters.map((one) => one.name)].filter(Boolean).join("\n").toLowerCase();
    return { id: operation.operationId ?? `${method}${path.replace(/\W+/g, "_")}`, path, method, operation, parameters, tags, text };
  }));
}

function show(api) {
  described = api;
  const routes = routesOf(api);
  const known = api.tags ?? [];
  const unknown = [...new Set(routes.flatMap((one) => one.tags))].filter((name) => !known.some((tag) => tag.name === name)).map((name) => ({ name }));
  const sections = [...known, ...unknown].map((tag) => ({ tag, routes: routes.filter((one) => one.tags[0] === tag.name) })).filter((one) => one.routes.length);
  document.title = `${api.info.title}: routes`;
  byId("title").textContent = api.info.title;
  byId("lead").replaceChildren(`${api.info.description ?? ""} Version ${api.info.version}. The same as `, element("a", { href: "/openapi.json" }, "OpenAPI 3.1"), ".");
  byId("access").replaceChildren(accessPanel());
  byId("protocols").replaceChildren(...sections.map(section));
  byId("toc").replaceChildren(...sections.map(contents));
  openLinked();
}

function section({ tag, routes }) {
  return element("section", { id: `protocol-${tag.name}`, "data-protocol": tag.name, "aria-label": tag.name },
    element("h2", {}, tag.name, element("small", {}, ...inline(tag.description ?? ""))), ...routes.map(routeCard));
}

function contents({ tag, routes }) {
  const links = routes.map(({ id, path, method }) =>
    element("li", { "data-route": id }, element("a", { href: `#${id}` },
      element("span", { className: `method ${method}` }, method.toUpperCase()), element("span", { className: "path" }, ...breakable(path)))));
  return element("div", { "data-protocol": tag.name }, element("h2", {}, tag.name), element("ul", {}, ...links));
}

function routeCard({ id, path, method, operation, parameters, text }) {
  const summary = element("summary", {},
    element("span", { className: `method ${method}` }, method.toUpperCase()),
    element("span", { className: "path" }, ...breakable(path)),
    element("span", { className: "what" }, operation.summary ?? ""));
  const card = opening({ className: "route", id }, summary, () => [element("div", { className: "inside" },
    ...explained(operation, parameters), tryForm(id, path, method, operation, parameters))]);
  card.filterText = text;
  card.method = method;
  // The address follows what a person opens, so that it can be copied, on a phone too. The history stays as it was.
  summary.addEventListener("click", () => history.replaceState(null, "", card.open ? location.pathname : `#${id}`));
  return card;
}

// --- what a route is ---

function explained(operation, parameters) {
  const parts = [];
  if (operation.description) parts.push(element("div", { className: "needs" }, ...prose(operation.description)));
  const ways = alternatives(operation).map((all) => all.map((one) => one.name).join(" with "));
  if (operation.security?.length && ways.length) parts.push(element("p", { className: "hint" }, `Credentials: ${ways.join(", or ")}${operation.security.some((one) => !Object.keys(one).length) ? ", or none" : ""}.`));
  if (parameters.length) parts.push(element("h3", {}, "Parameters"), element("ul", { className: "rows" }, ...parameters.map(parameterRow)));
  const body = resolved(operation.requestBody ?? {});
  for (const [type, media] of Object.entries(body.content ?? {})) {
    parts.push(element("h3", {}, "Body, ", code(type)));
    if (media.schema) parts.push(schemaView(media.schema));
  }
  parts.push(element("h3", {}, "Answers"), answersTable(operation.responses ?? {}));
  return parts;
}

function parameterRow(one) {
  const said = { ...resolved(one.schema), ...(one.description ? { description: one.description } : {}) };
  return element("li", {}, element("div", { className: "leaf" }, ...nameRow(one.name, `${one.in}, ${typeOf(one.schema)}`, one.required)), notes(said));
}

function answersTable(responses) {
  const head = element("tr", {}, ...["Status", "Meaning"].map((text) => element("th", { scope: "col" }, text)));
  const rows = Object.entries(responses).map(([status, one]) => element("tr", {}, element("td", {}, code(status)), element("td", {}, answerView(resolved(one)))));
  return element("table", { className: "answers" }, element("thead", {}, head), element("tbody", {}, ...rows));
}

function answerView(answer) {
  const made = element("div", {}, element("div", {}, ...inline(answer.description ?? "")));
  const fields = Object.entries(answer.headers ?? {}).map(([name, one]) => ({ in: "field", ...resolved(one), name }));
  if (fields.length) made.append(opening({ className: "more" }, element("summary", {}, "Header fields"), () => [element("ul", { className: "rows" }, ...fields.map(parameterRow))]));
  for (const [type, media] of Object.entries(answer.content ?? {})) {
    const examples = examplesOf(media, false);
    if (!media.schema && !examples.length) continue;
    made.append(opening({ className: "more" }, element("summary", {}, ...breakable(type)), () => [...(media.schema ? [schemaView(media.schema)] : []),
      ...examples.map((one) => element("div", {}, element("h4", {}, `Example: ${one.title}`), shownText(exampleText(one.value, type), one.title)))]));
  }
  return made;
}

// --- finding a route ---

/** Open the route or show the section that the address names. */
function openLinked() {
  const linked = byId(decodeURIComponent(location.hash.slice(1)));
  if (linked?.matches("section[data-protocol]")) linked.scrollIntoView();
  if (!linked?.classList.contains("route")) return;
  if (linked.hidden) { byId("filter").value = ""; filter(); }
  linked.fill();
  linked.open = true;
  linked.scrollIntoView();
  linked.querySelector("summary").focus({ preventScroll: true });
}

/** Show the routes that hold every word; a method's name stands for the method. */
function filter() {
  const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  for (const card of document.querySelectorAll(".route")) {
    card.hidden = !words.every((word) => METHODS.includes(word) ? card.method === word : card.filterText.includes(word));
    found += card.hidden ? 0 : 1;
    document.querySelector(`[data-route="${card.id}"]`).hidden = card.hidden;
  }
  for (const part of document.querySelectorAll("section[data-protocol]")) {
    part.hidden = !part.querySelector(".route:not([hidden])");
    document.querySelector(`.toc [data-protocol="${part.dataset.protocol}"]`).hidden = part.hidden;
  }
  byId("found").textContent = words.length ? `${found} found` : "";
}

async function load() {
  try {
    const answer = await fetch("/openapi.json");
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    show(await answer.json());
  } catch (error) {
    const again = element("button", { type: "button" }, "Try again");
    again.addEventListener("click", load);
    byId("protocols").replaceChildren(element("div", { className: "message", role: "alert" },
      element("p", {}, `/openapi.json cannot be read: ${error.message}.`), again));
  }
}

byId("filter").addEventListener("input", filter);
byId("filter").addEventListener("keydown", (event) => {
  if (event.key === "Escape") { event.target.value = ""; filter(); }
});
window.addEventListener("hashchange", openLinked);
// A link to the route that the address names already: the address does not change, the route opens all the same.
byId("toc").addEventListener("click", (event) => { if (event.target.closest("a")?.hash === location.hash) openLinked(); });
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && !/^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName)) {
    event.preventDefault();
    byId("filter").focus();
  }
});
load();
