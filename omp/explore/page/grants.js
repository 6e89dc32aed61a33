// Who may do what: the grants of a log as a tree, from the root key down (oplog §4).

import { linkTo } from "./detail.js";
import { code, counted, element, when } from "./elements.js";
import { GRANT } from "./operation.js";

/** Capability → what it allows, in words. */
const CAPABILITIES = { author: "write", read: "read", infer: "call models", delegate: "let others in" };

export default function fill(copy, { page, signal }) {
  const tree = element("div", {});
  const update = () => {
    const grants = copy.ordered.filter((one) => one.type === GRANT);
    tree.replaceChildren(
      element(
        "p",
        { class: "lead" },
        "The root may do everything and cannot be revoked. Every other key acts under a grant, and cannot hand on more than it has.",
      ),
      element(
        "ul",
        { class: "tree" },
        element(
          "li",
          {},
          element(
            "div",
            { class: "step" },
            element("strong", {}, "root "),
            code(copy.root),
            element("div", { class: "hint" }, written(copy, copy.root)),
          ),
          branch(copy, grants, null),
        ),
      ),
    );
  };
  page.append(tree);
  copy.whenGrown(update, signal);
  update();
  return update;
}

function branch(copy, grants, parent) {
  const here = grants.filter((one) => one.body.parent === parent);
  return (
    here.length > 0 &&
    element(
      "ul",
      {},
      here.map((one) => element("li", {}, grantOf(copy, one), branch(copy, grants, one.id))),
    )
  );
}

function grantOf(copy, { id, body }) {
  const now = copy.state.of.get(id);
  const isExpired = body.expires !== null && new Date(body.expires) <= new Date();
  const condition = now.status !== "active" ? now.status : isExpired ? "expired" : "active";
  return element(
    "div",
    { class: `step ${condition === "active" ? "" : "marked"}` },
    element("strong", {}, copy.nameOf(body.grantee)),
    " ",
    code(body.grantee),
    " ",
    element("span", { class: `condition ${condition === "active" ? "effective" : condition}` }, condition),
    now.revokedBy.length > 0 &&
      element(
        "span",
        {},
        " by ",
        now.revokedBy.map((other) => linkTo(copy, other)),
      ),
    now.status === "revoked" && !now.revokedBy.length && " with a grant above it",
    element(
      "div",
      {},
      `may ${body.caps.map((one) => CAPABILITIES[one] ?? one).join(", ")}: `,
      code(body.scope.predicates.join(", ")),
      body.scope.ops ? [", only ", code(body.scope.ops.join(", "))] : "",
      body.scope.provenance === "full" ? ", with the sources" : ", without the sources",
      body.caps.includes("delegate") ? `, up to ${counted(body.max_depth, "grant")} deep` : "",
    ),
    element(
      "div",
      { class: "hint" },
      body.not_before ? ["from ", when(body.not_before), " "] : "",
      body.expires ? ["until ", when(body.expires)] : "without an end",
      ". ",
      written(copy, body.grantee),
      " ",
      linkTo(copy, id),
    ),
  );
}

function written(copy, key) {
  const own = copy.ordered.filter((one) => one.author === key);
  const gone = own.filter((one) => copy.state.of.get(one.id).void).length;
  return `Has written ${counted(own.length, "operation")}${gone ? `, of which ${gone} are void` : ""}.`;
}
