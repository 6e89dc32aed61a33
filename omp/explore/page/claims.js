// The claims of a log: which hold, how sure somebody is of them, and why.
//
// A claim rests on sources, and these on others, down to evidence. The tree shows them; where one of them is false, the
// path from the claim down to it is marked. And it answers a question that no server is asked: what else would fall if this
// source were false? The page derives the state once more, as if it were, and compares.

import { address, button, code, counted, element, field, table, textInput, when } from "./elements.js";
import { linkTo } from "./detail.js";
import { canonical, CLAIM, summary } from "./operation.js";
import { derived, sourcesOf } from "./state.js";

const MOST_ROWS = 200;
const MOST_DEEP = 40; // of a tree: levels
const MOST_STEPS = 400; // and operations

/** What a claim can be, in a word; the first that applies. */
const CONDITIONS = {
  effective: ({ effective }) => effective,
  void: (now) => now.void,
  refuted: ({ status }) => status === "refuted",
  superseded: ({ status }) => status === "superseded",
  tainted: ({ taint }) => taint.length > 0,
};
const conditionOf = (now) => Object.keys(CONDITIONS).find((name) => CONDITIONS[name](now));

export default function fill(copy, { page, query: first, signal }) {
  let query = first;
  const here = (changes) => address(["log", copy.log, "claims"], { ...query, ...changes });
  const search = textInput({ type: "search", value: query.search ?? "" });
  const status = element(
    "select",
    {},
    ["", ...Object.keys(CONDITIONS)].map((one) => element("option", { value: one }, one || "all")),
  );
  const results = element("div", {});
  const why = element("div", {});
  search.addEventListener("input", () => location.replace(here({ search: search.value })));
  status.addEventListener("change", () => location.replace(here({ status: status.value })));

  const update = (chosen) => {
    query = chosen;
    if (document.activeElement !== search) search.value = query.search ?? "";
    status.value = query.status ?? "";
    const words = (query.search ?? "").toLowerCase().split(/\s+/).filter(Boolean);
    const found = copy.ordered.filter(
      (one) =>
        one.type === CLAIM &&
        (!query.status || conditionOf(copy.state.of.get(one.id)) === query.status) &&
        words.every((word) =>
          `${one.body.subject} ${summary(one)} ${one.body.method} ${copy.nameOf(one.author)}`.toLowerCase().includes(word),
        ),
    );
    results.replaceChildren(claimTable(copy, found.reverse(), query.claim, here));
    why.replaceChildren(
      ...(query.claim && copy.byId.has(query.claim)
        ? reasons(copy, query, here)
        : [element("p", { class: "hint" }, "Choose a claim: what it rests on is shown here.")]),
    );
  };
  page.append(
    element("div", { class: "tools" }, field("claims-search", "Search", search), field("claims-status", "Condition", status)),
    why,
    results,
  );
  copy.whenGrown(() => update(query), signal);
  update(query);
  return update;
}

function claimTable(copy, found, chosen, here) {
  const rows = found.slice(0, MOST_ROWS).map((one) => {
    const condition = conditionOf(copy.state.of.get(one.id));
    const { body } = one;
    return element(
      "tr",
      { class: one.id === chosen && "chosen" },
      element(
        "td",
        {},
        element("a", { href: here({ claim: one.id, if: "" }), "aria-current": one.id === chosen && "true" }, body.predicate),
        element("div", { class: "hint" }, `about ${body.subject}`),
      ),
      element(
        "td",
        {},
        element("div", { class: "value" }, typeof body.object === "string" ? body.object : canonical(body.object)),
      ),
      element("td", {}, confidence(body.confidence_ppm)),
      element("td", {}, element("span", { class: `condition ${condition}` }, condition)),
      element("td", {}, copy.nameOf(one.author), element("div", { class: "hint" }, when(one.ts))),
    );
  });
  const more = found.length > MOST_ROWS ? `, of which the newest ${MOST_ROWS} are shown` : "";
  return table(
    `${counted(found.length, "claim")}, the newest first${more}`,
    ["Claim", "Value", "Confidence", "Condition", "By"],
    rows,
  );
}

function confidence(ppm) {
  const percent = ppm / 10_000;
  return [element("meter", { min: 0, max: 100, value: percent, "aria-hidden": "true" }), ` ${Number(percent.toFixed(2))} %`];
}

// --- why ---

function reasons(copy, query, here) {
  const claim = copy.byId.get(query.claim);
  const supposed =
    query.if && copy.byId.has(query.if) ? derived(copy.log, copy.ordered, copy.ordered.length, new Set([query.if])) : null;
  const state = supposed ?? copy.state;
  return [
    element(
      "section",
      { class: "detail", "aria-label": "Why" },
      element("h2", { role: "status" }, `Why: ${summary(claim)}`),
      element("p", {}, verdict(state.of.get(claim.id), supposed)),
      attempts(copy, claim.id, state),
      supposed && consequences(copy, query.if, supposed, here),
      element("ul", { class: "tree" }, node(copy, claim.id, state, { met: new Set(), here, supposed: query.if })),
    ),
  ];
}

/** What was written against a claim, and is void. */
function attempts(copy, id, state) {
  const without = copy.referringTo(id).filter(([, one]) => one.body.target === id && state.of.get(one.id).void);
  return (
    without.length > 0 &&
    element(
      "p",
      {},
      "Written against it, but void: ",
      without.flatMap(([, one], at) => [at ? ", " : "", linkTo(copy, one.id)]),
    )
  );
}

function verdict(now, supposed) {
  const then = supposed ? "would be" : "is";
  return {
    effective: `The claim ${supposed ? "would hold" : "holds"}: no operation that counts refuted or corrected it, and nothing that it rests on is false.`,
    tainted: `Nobody refuted the claim itself, but something that it rests on ${then} false. Follow the marked path down.`,
    refuted: `The claim ${then} refuted.`,
    superseded: `The claim ${then} corrected.`,
    void: "The claim is void. Its author's grant was revoked, and neither had seen the other, whatever date it bears.",
  }[conditionOf(now)];
}

/**
 * An operation with what it rests on. One that was met before is named only, so that the tree stays finite; and since
 * strangers may write long chains, it is cut off where nobody would read on.
 */
function node(copy, id, state, shared, depth = 0) {
  const one = copy.byId.get(id);
  if (!one) return element("li", {}, "An operation that is not here: ", code(id));
  const isMet = shared.met.has(id);
  const label = step(copy, one, state.of.get(id), isMet);
  if (isMet) return element("li", {}, label);
  shared.met.add(id);
  if (copy.state.of.get(id).status === "active") label.append(" ", whatIf(id, shared));
  const sources = sourcesOf(one);
  if (sources.length && (depth >= MOST_DEEP || shared.met.size >= MOST_STEPS)) {
    return element(
      "li",
      {},
      label,
      howSure(copy, one),
      element("p", { class: "hint" }, "What this rests on is not shown here: choose it in the table."),
    );
  }
  const below = sources.map((source) => node(copy, source, state, shared, depth + 1));
  return element("li", {}, label, howSure(copy, one), below.length > 0 && element("ul", {}, below));
}

function step(copy, one, now, isMet) {
  const isCause = now.status !== "active";
  const isMarked = isCause || now.taint.length > 0;
  return element(
    "div",
    { class: `step ${isMarked ? "marked" : ""} ${isCause ? "cause" : ""}` },
    linkTo(copy, one.id),
    isMarked && element("strong", { class: "bad" }, isCause ? ` ✗ ${now.status}` : " ↓ tainted"),
    isCause && because(copy, now),
    isMet && element("span", { class: "hint" }, " (as above)"),
  );
}

function whatIf(id, { here, supposed }) {
  const isAsked = supposed === id;
  const ask = () => {
    location.hash = here({ if: isAsked ? "" : id });
  };
  return button(isAsked ? "Back to what is" : "What if this were false?", ask, {
    class: "plain",
    "aria-pressed": String(isAsked),
  });
}

function howSure(copy, { type, body, author }) {
  if (type !== CLAIM) return null;
  const percent = Number((body.confidence_ppm / 10_000).toFixed(2));
  return element("div", { class: "hint" }, `${body.method}, ${percent} % sure, by ${copy.nameOf(author)}`);
}

/** The operations that changed the status of one. */
function because(copy, now) {
  const changed = [...(now.refutedBy ?? []), ...(now.supersededBy ?? [])];
  return (
    changed.length > 0 &&
    element(
      "span",
      {},
      " by ",
      changed.flatMap((id, at) => [at ? ", " : "", linkTo(copy, id)]),
    )
  );
}

/** Which claims would hold no longer. */
function consequences(copy, id, supposed, here) {
  const fallen = copy.ordered.filter(
    (one) => one.type === CLAIM && copy.state.of.get(one.id).effective && !supposed.of.get(one.id).effective,
  );
  return element(
    "div",
    { class: "consequences", role: "status" },
    element(
      "p",
      {},
      "If ",
      linkTo(copy, id),
      ` were false, ${fallen.length ? `${counted(fallen.length, "claim")} would hold no longer:` : "every claim would hold as before."}`,
    ),
    fallen.length > 0 &&
      element(
        "ul",
        {},
        fallen.slice(0, MOST_ROWS).map((one) => element("li", {}, element("a", { href: here({ claim: one.id }) }, summary(one)))),
      ),
    element("p", { class: "hint" }, "This is derived in the page; nothing is written."),
  );
}
