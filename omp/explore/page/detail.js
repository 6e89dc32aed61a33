// One operation, in full: what it says, what became of it, what it refers to and what refers to it, and what this browser
// finds when it checks its bytes. "Checked here" stands only where this page has computed something itself.

import { ask } from "./ask.js";
import { routeOf } from "./copy.js";
import { address, code, element, facts, pretty, short, shownText, when } from "./elements.js";
import { checksOf, CLAIM, KINDS, namedBy, preimage, summary } from "./operation.js";
import { hex, utf8 } from "./keys.js";
import { isBefore } from "./state.js";

/** Status → what it means, in a sentence. */
const STATUSES = {
  active: "It counts.",
  void: "It counts for nothing. Its author's grant was revoked, and neither had seen the other, whatever date it bears.",
  refuted: "It was marked as false.",
  superseded: "It was corrected.",
  revoked: "It was taken back.",
};

/** The panel of an operation; `state` is the one that the reader looks at. */
export function detailOf(copy, id, state) {
  const one = copy.byId.get(id);
  if (!one) return unknown(copy, id);
  const now = state.of.get(id);
  const link = (other) => linkTo(copy, other);
  const status = now
    ? [element("strong", {}, now.status), `. ${STATUSES[now.status]}`]
    : "It is not there yet, at this point of the log.";
  const fork = state.forks.find(({ ops }) => ops.includes(id))?.ops.filter((other) => other !== id) ?? [];
  const joined = one.parents.filter(
    (at) => !one.parents.some((other) => other !== at && isBefore(copy.ordered[at], copy.ordered[other])),
  );
  const authors = [...new Set(joined.map((at) => copy.nameOf(copy.ordered[at].author)))];
  const taint = now?.taint.length ? [["tainted by", now.taint.map((other) => element("div", {}, link(other)))]] : [];
  return element(
    "section",
    { class: "detail", "aria-label": "The chosen operation" },
    element("h2", { role: "status" }, `${KINDS[one.type] ?? one.type} by ${copy.nameOf(one.author)}`),
    element("p", {}, summary(one)),
    facts([
      ["status", element("span", {}, status)],
      ...taint,
      ...(fork.length ? [["fork", ["the same number as ", fork.map(link), ": both stay, and both count"]]] : []),
      ...(joined.length > 1 ? [["merge", `joins branches that did not know of each other, by ${authors.join(" and ")}`]] : []),
      ["author", [element("span", {}, copy.nameOf(one.author)), " ", code(one.author)]],
      ["written", [when(one.ts), ", as the author says"]],
      ["number", `${one.seq} of this key, Lamport clock ${one.lc}`],
      ["operation ID", code(id)],
    ]),
    one.type === CLAIM &&
      element("p", {}, element("a", { href: address(["log", copy.log, "claims"], { claim: id }) }, "Why is this claimed?")),
    element("h3", {}, "It refers to"),
    references(namedBy(one), link),
    element("h3", {}, "Referred to by"),
    references(
      copy.referringTo(id).map(([words, other]) => [words, other.id]),
      link,
    ),
    element("h3", {}, "Its body"),
    shownText(pretty(one.body), "the body"),
    element("h3", {}, "Its bytes"),
    verification(copy, one),
  );
}

function references(pairs, link) {
  if (!pairs.length) return element("p", { class: "hint" }, "nothing");
  return element(
    "ul",
    { class: "references" },
    pairs.map(([words, id]) => element("li", {}, `${words} `, link(id))),
  );
}

/** A link to an operation in the graph, with its words; one that is not here is named by its ID. */
export function linkTo(copy, id) {
  const one = copy.byId.get(id);
  if (!one) return code(id);
  return element(
    "a",
    { href: address(["log", copy.log], { op: id }), class: "operation" },
    `${KINDS[one.type] ?? one.type} ${short(id)}`,
    element("span", { class: "hint" }, ` ${summary(one).slice(0, 60)}`),
  );
}

function unknown(copy, id) {
  const waiting = copy.waiting.find((one) => one.id === id);
  const about = waiting
    ? [
        element("p", {}, "The server holds it back: it builds on operations that have not come. It is shown when it is stored."),
        facts([["waits for", waiting.missing.map((one) => element("div", {}, code(one)))]]),
      ]
    : element("p", {}, "This log has no such operation.");
  return element(
    "section",
    { class: "detail", "aria-label": "The chosen operation" },
    element("h2", { role: "status" }, waiting ? "An operation that waits" : "Unknown operation"),
    about,
    facts([["operation ID", code(id)]]),
  );
}

/** Ask the server for the exact bytes once more, and check them. */
function verification(copy, { id }) {
  const place = element(
    "div",
    { class: "checks", "aria-live": "polite" },
    element("p", { class: "hint" }, "reading the bytes …"),
  );
  ask(`${routeOf(copy.log)}/operations/${encodeURIComponent(id)}`)
    .then((answer) => answer.text())
    .then(async (raw) => {
      const checks = await checksOf(raw, id);
      const text = preimage(JSON.parse(raw));
      place.replaceChildren(
        element("ul", {}, checks.map(verdict)),
        element("h4", {}, "As they came"),
        shownText(raw, "the bytes of the operation"),
        element("h4", {}, "The preimage: what is hashed and signed"),
        shownText(text, "the preimage"),
        element("details", {}, element("summary", {}, "The preimage in hex"), shownText(hex(utf8(text)), "the preimage in hex")),
      );
    })
    .catch((error) => place.replaceChildren(element("p", { class: "bad" }, `✗ Not checked: ${error.message}`)));
  return place;
}

function verdict({ name, holds, computed }) {
  const [kind, mark, words] = holds
    ? ["good", "✓", "checked here"]
    : holds === null
      ? ["hint", "?", "not checked: this browser does not know Ed25519"]
      : ["bad", "✗", "checked here: it is NOT so"];
  return element(
    "li",
    {},
    element("strong", { class: kind }, `${mark} ${name}: ${words}`),
    element("div", { class: "hint" }, code(computed)),
  );
}
