// The pieces that every view is made of. Whatever comes from the server becomes a text node or the value of a harmless
// attribute: there is no HTML in this page but that of explore.html, and the browser refuses any other (trusted types).

/**
 * An element with attributes and children.
 *
 * An attribute whose value is a function is a listener for the event of that name; true is an attribute without a value,
 * and false, null and undefined are none. Children are nodes, text, or lists of these; null and false are left out.
 *
 *   element("a", { href: "#/", click: leave, hidden: isSmall }, "back to ", element("strong", {}, name))
 */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same in SVG, which has a namespace of its own. */
export function drawn(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== false && child !== undefined));
  return made;
}

/** A table with a head; `rows` are lists of cells, or elements `tr` that were made elsewhere. */
export function table(caption, heads, rows, attributes = {}) {
  const head = element(
    "tr",
    {},
    heads.map((text) => element("th", { scope: "col" }, text)),
  );
  const body = rows.map((row) =>
    row instanceof Element
      ? row
      : element(
          "tr",
          {},
          row.map((cell) => element("td", {}, cell)),
        ),
  );
  return element(
    "div",
    { class: "scroll", tabindex: 0, role: "group", "aria-label": caption },
    element("table", attributes, element("caption", {}, caption), element("thead", {}, head), element("tbody", {}, body)),
  );
}

/** Names and values below each other. */
export function facts(pairs) {
  return element(
    "dl",
    { class: "facts" },
    pairs.map(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]),
  );
}

/** Text in a box that scrolls, and so can be reached with the keyboard; `what` names it for a screen reader. */
export const shownText = (text, what) => element("pre", { tabindex: 0, role: "group", "aria-label": what }, text);

/** A labelled input, select or textarea. */
export function field(id, title, input, hint = "") {
  input.id = id;
  return element(
    "div",
    { class: "field" },
    element("label", { for: id }, title),
    input,
    hint && element("p", { class: "hint" }, hint),
  );
}

/** An input that the browser neither completes, nor keeps when the tab is restored. */
export const textInput = (attributes = {}) =>
  element("input", { type: "text", autocomplete: "off", spellcheck: "false", autocapitalize: "off", ...attributes });

export const button = (text, click, attributes = {}) => element("button", { type: "button", click, ...attributes }, text);

export const code = (text) => element("code", {}, breakable(text));

/** `text` in pieces between which a line may be broken: after punctuation, and in hashes, which have none. */
function breakable(text) {
  return String(text)
    .split(/(?<=[/._:=|,;@)}\]-])|(?<=[0-9A-Za-z]{16})(?=[0-9A-Za-z])/)
    .flatMap((piece, at) => (at ? [element("wbr"), piece] : [piece]));
}

export const pretty = (value) => JSON.stringify(value, null, 2);

export const counted = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

/** The last part of an identifier, as much of it as tells it from others to the eye. */
export const short = (id) => `${id.slice(id.lastIndexOf(":") + 1).slice(0, 8)}…`;

/** A timestamp of a protocol in a form for people; one that is none stays as it is. */
export function when(text) {
  const time = new Date(text ?? NaN);
  return Number.isNaN(time.getTime())
    ? String(text)
    : element(
        "time",
        { datetime: time.toISOString() },
        time
          .toISOString()
          .replace("T", " ")
          .replace(/\.\d+Z$/, " UTC"),
      );
}

/** A length of time in words: the two largest units. */
export function span(seconds) {
  const units = [
    ["day", 86400],
    ["hour", 3600],
    ["minute", 60],
    ["second", 1],
  ];
  let rest = Math.max(0, Math.round(seconds));
  const said = units.flatMap(([name, size]) => {
    const many = Math.floor(rest / size);
    rest -= many * size;
    return many ? [counted(many, name)] : [];
  });
  return said.slice(0, 2).join(" ") || "no time";
}

/**
 * The address of a view: a path of names and values, and what is chosen there.
 *
 *   address(["log", log], { op: id })  →  "#/log/omp%3Aid%3A…?op=omp%3Aop%3A…"
 */
export function address(path, query = {}) {
  const chosen = new URLSearchParams(
    Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined),
  );
  return `#/${path.map(encodeURIComponent).join("/")}${chosen.size ? `?${chosen}` : ""}`;
}

/** Where an address leads: its path, and what is chosen there as an object. */
export function placeOf(hash) {
  const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
  return { path: path.split("/").filter(Boolean).map(decoded), query: Object.fromEntries(new URLSearchParams(query)) };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
