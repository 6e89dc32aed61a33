// A vault as its server sees it: who is on the roster, which epoch, which version, and a ciphertext. Only members are let
// in, so one signs in with a key file, which is read in the page and goes nowhere.

import { askJson, repeat, vaultToken } from "./ask.js";
import { button, code, counted, element, facts, field, pretty, short, shownText, table, textInput } from "./elements.js";
import { fromBase64, secretsIn, utf8, verified } from "./keys.js";
import { memberOf, opened } from "./opening.js";

export default async function fill({ page, signal }) {
  const repository = textInput();
  const file = element("input", { type: "file" });
  const said = element("p", { role: "status" });
  const inside = element("div", { "aria-live": "polite" });
  const names = new Map(); // member id → what the demo calls it
  let watching = new AbortController();
  signal.addEventListener("abort", () => watching.abort());

  const enter = async (text) => {
    watching.abort();
    watching = new AbortController();
    inside.replaceChildren();
    said.replaceChildren("Signing in …");
    try {
      const member = await memberOf(secretsIn(text));
      const token = await vaultToken(member.key);
      said.replaceChildren("Signed in as ", names.get(member.id) ?? "", " ", code(member.id), ".");
      await watch({ repoId: repository.value, member, token, names, inside, signal: watching.signal });
    } catch (error) {
      said.replaceChildren(element("span", { class: "bad" }, `Not opened: ${error.message}.`));
    }
  };
  const submit = async (event) => {
    event.preventDefault();
    if (file.files.length) enter(await file.files[0].text());
    else said.replaceChildren("Choose a member's key file first.");
  };
  page.append(
    element("h1", {}, "Vault"),
    element(
      "p",
      { class: "lead" },
      "A repository is one encrypted payload that its members share. The server stores it and cannot read it. ",
      "The key stays in the memory of this page.",
    ),
    element(
      "form",
      { submit },
      field("vault-repository", "Repository", repository),
      field("vault-key", "Key file of a member", file, "as python3 -m omp vault writes it"),
      element("div", { class: "buttons" }, element("button", {}, "Sign in"), ...(await demoKeys(enter, repository, names))),
    ),
    said,
    inside,
  );
}

/** In the demo: everybody's keys are known. */
async function demoKeys(enter, repository, names) {
  if (document.body.dataset.demo === undefined) return [];
  const { vault } = await askJson("/explore/demo.json");
  return Promise.all(
    Object.entries(vault.keys).map(async ([name, keys]) => {
      const text = JSON.stringify(keys);
      names.set((await memberOf(secretsIn(text))).id, name);
      return button(
        `Enter as ${name}`,
        () => {
          repository.value = vault.repository;
          enter(text);
        },
        { class: "plain" },
      );
    }),
  );
}

/** Show the repository, and what changes of it, until the signal says otherwise. */
async function watch({ repoId, member, token, names, inside, signal }) {
  const route = `/v1/repos/${encodeURIComponent(repoId)}/pull`;
  const history = element("ul", {});
  const now = element("div", {});
  let envelope = null;
  let known = null;
  const pull = async () => {
    const answer = await askJson(route, {
      method: "POST",
      token,
      body: { repoId, knownPayloadVersion: envelope?.payloadVersion ?? -1 },
    });
    // A counter is a 64-bit integer, and numbers here are doubles (avp §2.1).
    if (![answer.manifest.payloadVersion, answer.manifest.keyEpoch].every(Number.isSafeInteger))
      throw new Error("its counters are too large for a browser");
    const changes = known ? differences(known, answer.manifest, names) : [];
    envelope = answer.envelope ?? envelope;
    if (known && !changes.length) return;
    for (const text of changes) history.prepend(element("li", {}, `${new Date().toLocaleTimeString("en-GB")}: ${text}`));
    known = answer.manifest;
    now.replaceChildren(...(await repositoryView(known, envelope, member, names)));
  };
  await pull();
  inside.replaceChildren(
    now,
    element("h2", {}, "Since you signed in"),
    history,
    element(
      "p",
      { class: "hint" },
      "The server keeps no history: who was removed earlier, and when, it does not know. The epoch says how often the data key was changed.",
    ),
  );
  repeat(900, pull, signal);
}

/** The server does not check that a ciphertext is base64. */
function sizeOf(text) {
  try {
    return `${fromBase64(text).length} bytes`;
  } catch {
    return "no base64";
  }
}

const nameOf = (id, names) => names.get(id) ?? short(id);

/** What has happened between two manifests, in sentences. */
function differences(before, after, names) {
  const of = (manifest) => new Set(manifest.members.map((one) => one.ed25519PublicKey));
  const [old, now] = [of(before), of(after)];
  return [
    ...[...old].filter((id) => !now.has(id)).map((id) => `${nameOf(id, names)} was removed.`),
    ...[...now].filter((id) => !old.has(id)).map((id) => `${nameOf(id, names)} was added.`),
    ...(after.keyEpoch === before.keyEpoch ? [] : [`The data key was changed: epoch ${after.keyEpoch}.`]),
    ...(after.payloadVersion === before.payloadVersion ? [] : [`Version ${after.payloadVersion} was written.`]),
  ];
}

/** Whether the two keys of a member belong together, by the signature of the first (avp §8.5), in words. */
async function binding({ ed25519PublicKey, x25519PublicKey, keyBindingSig }) {
  if (!keyBindingSig) return "none";
  try {
    const message = utf8(`${ed25519PublicKey}|${x25519PublicKey}`);
    const holds = await verified(fromBase64(ed25519PublicKey), message, fromBase64(keyBindingSig));
    if (holds === null) return "there is one, not checked: this browser does not know Ed25519";
    return element("span", { class: holds ? "good" : "bad" }, holds ? "signed: checked here" : "checked here: it is NOT so");
  } catch {
    return element("span", { class: "bad" }, "checked here: it is no signature");
  }
}

async function repositoryView(manifest, envelope, member, names) {
  const own = manifest.members.find((one) => one.ed25519PublicKey === member.id);
  const bindings = await Promise.all(manifest.members.map(binding));
  let inside;
  try {
    inside = shownText(await opened(own, envelope, member.opening), "the payload");
  } catch (error) {
    inside = element(
      "p",
      { class: "bad" },
      member.opening ? `This browser could not open it (${error.name}).` : "Your key file has no X25519 key, which opens it.",
    );
  }
  return [
    element("h2", {}, "What the server sees"),
    facts([
      ["repository", code(manifest.repoId)],
      ["payload version", `${manifest.payloadVersion}`],
      ["key epoch", `${manifest.keyEpoch}`],
      ["ciphertext", sizeOf(envelope.ciphertext)],
    ]),
    shownText(envelope.ciphertext, "the ciphertext"),
    table(
      counted(manifest.members.length, "member"),
      ["Member", "Member id", "X25519 key", "Epoch", "Key binding"],
      manifest.members.map((one, at) => [
        `${nameOf(one.ed25519PublicKey, names)}${one === own ? " (you)" : ""}`,
        code(one.ed25519PublicKey),
        code(one.x25519PublicKey),
        `${one.keyEpoch}`,
        bindings[at],
      ]),
    ),
    element("details", {}, element("summary", {}, "The manifest as it is stored"), shownText(pretty(manifest), "the manifest")),
    element("h2", {}, "What only members see"),
    inside,
    element("p", { class: "hint" }, "opened here, with your key; the server has never had it"),
  ];
}
