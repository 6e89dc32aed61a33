// The overview: what this server speaks and how much of it there is, kept up to date while somebody looks.

import { askJson, repeat } from "./ask.js";
import { address, counted, element } from "./elements.js";
import { currentPlaces } from "./registry.js";
import { VIEWS } from "./views.js";

const MOST = 100; // objects that are counted: each comes with its metadata, and this is asked again and again

async function countLogs() {
  const { items } = await askJson("/logs");
  return `${counted(items.length, "log")}, ${counted(
    items.reduce((sum, log) => sum + log.ops, 0),
    "operation",
  )}`;
}

async function countObjects() {
  const { count } = await askJson(`/objects?limit=${MOST}`);
  return count < MOST ? counted(count, "object") : `${counted(MOST, "object")} or more`;
}

const countPlaces = async () => counted((await currentPlaces()).length, "place");

const countNothing = async () => "known to its owners only";

/** What is counted: {name, what it is for, the view that shows it, count() → text}. */
const PROTOCOLS = [
  {
    name: "Operation logs",
    about: "Signed, append-only, mergeable: evidence, claims, grants, corrections.",
    first: "logs",
    count: countLogs,
  },
  {
    name: "Objects",
    about: "JSON under a namespace and a key, some of it with a time to live.",
    first: "objects",
    count: countObjects,
  },
  {
    name: "Places",
    about: "What is registered where on the earth, and which server knows more.",
    first: "places",
    count: countPlaces,
  },
  {
    name: "Vault",
    about: "Encrypted and shared between keys: what the server sees, and what it cannot.",
    first: "vault",
    count: countNothing,
  },
  { name: "Profile", about: "Settings, a prompt and messages of an Ethereum key.", first: "profile", count: countNothing },
];

export default async function fill({ page, signal }) {
  const cards = PROTOCOLS.map((one) => ({ ...one, number: element("p", { class: "number" }, "…") }));
  page.append(
    element("h1", {}, "What this server holds"),
    element(
      "p",
      { class: "lead" },
      "Five open protocols for personal data that a key owns. All that is shown here is asked of the ",
      element("a", { href: "/docs" }, "public routes"),
      ".",
    ),
    element(
      "ul",
      { class: "cards" },
      cards.map((one) => element("li", {}, element("h2", {}, titled(one)), one.number, element("p", {}, one.about))),
    ),
    await tour(),
  );
  const count = (one) =>
    one
      .count()
      .catch((error) => (error.status === 401 ? "shown to known keys only" : `not to be counted: ${error.message}`))
      .then((text) => {
        if (one.number.textContent !== text) one.number.textContent = text;
      });
  repeat(900, () => Promise.all(cards.map(count)), signal);
}

const titled = ({ name, first }) => (first in VIEWS ? element("a", { href: address([first]) }, name) : name);

/** In the demo: where to begin. */
async function tour() {
  if (document.body.dataset.demo === undefined) return null;
  const guide = await askJson("/explore/demo.json");
  return element(
    "section",
    { class: "tour" },
    element("h2", {}, "Begin here"),
    element(
      "p",
      {},
      "This is a made-up world: the log of Ann, who has a laptop, a phone, an assistant, and had a tablet. Everybody knows her keys.",
    ),
    element(
      "ol",
      {},
      guide.tour.map(({ title, why, op, claim }) =>
        element(
          "li",
          {},
          element(
            "a",
            { href: claim ? address(["log", guide.log, "claims"], { claim }) : address(["log", guide.log], { op }) },
            title,
          ),
          `: ${why}`,
        ),
      ),
    ),
  );
}
