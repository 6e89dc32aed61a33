// The logs that the server shows: a link to each.

import { askJson } from "./ask.js";
import { address, code, counted, element } from "./elements.js";

export default async function fill({ page }) {
  const { items } = await askJson("/logs");
  page.append(
    element("h1", {}, "Operation logs"),
    element(
      "p",
      { class: "lead" },
      "A log belongs to one identity, its root key, and is written by every key that the root let in.",
    ),
    items.length
      ? element(
          "ul",
          { class: "cards" },
          items.map(({ log, ops, heads }) =>
            element(
              "li",
              {},
              element("h2", {}, element("a", { href: address(["log", log]) }, code(log))),
              element("p", {}, `${counted(ops, "operation")}, ${counted(heads.length, "head")}`),
            ),
          ),
        )
      : element("p", {}, "There is none yet."),
  );
}
