"use strict";
// Pieces of the page. Text from the server becomes text nodes, never HTML.

const byId = (id) => document.getElementById(id);
const pretty = (value) => JSON.stringify(value, null, 2);

/** An element with properties, attributes (names that are no property) and children (nodes or text). */
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value; else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

/** `text` in pieces that a line may be broken between: after punctuation, never inside a word. */
function breakable(text) {
  return String(text).split(/(?<=[/._:=|,;@)}\]-])/).flatMap((piece, at) => at ? [element("wbr"), piece] : [piece]);
}

const code = (text) => element("code", {}, ...breakable(text));

/** A description: paragraphs with `code` in them. Of Markdown, which OpenAPI allows, no more is read. */
function prose(text) {
  return text.split(/\n\s*\n/).map((paragraph) => element("p", {}, ...paragraph.split(/`([^`]+)`/).flatMap(
    (piece, at) => at % 2 ? [code(piece)] : piece.split(/(\S{24,})/).flatMap((word, odd) => odd % 2 ? breakable(word) : [word]))));
}

/** The same without paragraphs, for where a line is. */
const inline = (text) => prose(text).flatMap((paragraph, at) => [...(at ? [" "] : []), ...paragraph.childNodes]);

/** A labelled input; `input` gets the id by which the label and the tests find it. */
function field(id, title, hint, input) {
  input.id = id;
  return element("div", {}, element("label", { htmlFor: id }, title, " ", element("span", { className: "hint" }, ...breakable(hint))), input);
}

/** An input that the browser neither completes, nor keeps when the tab is restored. */
const textInput = (properties = {}) => element("input", { autocomplete: "off", spellcheck: false, autocapitalize: "off", ...properties });

const plainButton = (text) => element("button", { type: "button", className: "plain" }, text);

/** Something that opens; its inside is made by `fill` when it is first opened, so that long pages stay quick. */
function opening(properties, summary, fill) {
  const made = element("details", properties, summary);
  made.fill = () => {
    if (made.filled) return;
    made.filled = true;
    made.append(...fill());
  };
  made.addEventListener("toggle", () => { if (made.open) made.fill(); });
  return made;
}

/** Open everything that opens inside `root`, whatever level it is on. */
function openAll(root) {
  for (let closed; (closed = root.querySelectorAll("details:not([open])")).length;) {
    for (const one of closed) { one.fill?.(); one.open = true; }
  }
}

/** `text` to read, with a button that copies it; `what` is its name for a screen reader. */
function copyable(text, what) {
  const button = plainButton("Copy");
  button.setAttribute("aria-label", `Copy ${what}`);
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; }
    catch { button.textContent = "Select and copy by hand"; }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  return element("div", {}, shownText(text, what), button);
}

/** A box that scrolls, and so can be reached with the keyboard. */
const shownText = (text, what) => element("pre", { tabIndex: 0, role: "group", "aria-label": what }, text);
