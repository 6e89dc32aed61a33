// Credentials: entered once for each scheme of the document, and kept in the page's memory until the tab is closed or
// loaded anew. They are in no address, no storage and no cookie.
//
// A scheme becomes {name, panel, filled(), apply(request)}: its inputs, whether they hold anything, and what it adds to a
// request. A document without schemes gets a bearer token and an HTTP signature.

let schemes = [];

const UNDECLARED = {
  "bearer token": { type: "http", scheme: "bearer", description: "A token of MRS or of the vault; for NEXUS the owner's address." },
  "HTTP signature": { type: "http", scheme: "signature", description: "Of MRS also `MRS-Identity`, below; the key's name is then the address of its document." },
};

function kindOf(scheme) {
  const words = `${scheme.scheme ?? ""} ${scheme.type === "apiKey" ? scheme.name : ""}`;
  if (/^signature(-input)?$/i.test(words.trim()) || /httpsig|message-?signature/i.test(words)) return "signature";
  if (scheme.type === "http") return /^basic$/i.test(scheme.scheme) ? "basic" : "bearer";
  if (scheme.type === "apiKey") return scheme.in === "query" ? "query" : scheme.in === "header" ? "header" : "unsent";
  return scheme.type === "oauth2" || scheme.type === "openIdConnect" ? "bearer" : "unsent";
}

/** A scheme with one input, `add(request, value)`. */
function entered(id, title, placeholder, add) {
  const input = textInput({ placeholder });
  return {
    inputs: [field(id, title, "", input)], filled: () => input.value.trim() !== "",
    apply: async (request) => add(request, input.value.trim()), input,
  };
}

const KINDS = {
  bearer: (id, scheme) => entered(id, "Token", "", (request, value) => {
    const word = /^[a-z]+$/i.test(scheme.scheme ?? "") && !/^bearer$/i.test(scheme.scheme) ? scheme.scheme : "Bearer";
    request.headers.push(["Authorization", `${word} ${value.replace(new RegExp(`^${word}\\s+`, "i"), "")}`]);
  }),
  basic: (id) => entered(id, "Name and password", "name:password", (request, value) =>
    request.headers.push(["Authorization", `Basic ${base64(bytesOf(value))}`])),
  header: (id, scheme) => entered(id, scheme.name, "", (request, value) => request.headers.push([scheme.name, value])),
  query: (id, scheme) => entered(id, scheme.name, "", (request, value) => {
    const url = new URL(request.url);
    url.searchParams.append(scheme.name, value);
    request.url = url.href;
  }),
  signature: signatureScheme,
  // Sent in some other way, such as in the body: there is nothing to enter, and it stands in nobody's way.
  unsent: () => ({ inputs: [], filled: () => true, apply: async () => {} }),
};

/** The scheme of HTTP signatures: a key, its name, and fields that are sent along. */
function signatureScheme(id) {
  const seed = textInput({ placeholder: "64 hexadecimal digits, or base64url" });
  const keyid = textInput();
  const extra = element("textarea", { rows: 1, spellcheck: false, placeholder: "MRS-Identity: ann@example.org" });
  const unused = "The browser signs with it; it stays in this page. Operations of the log and the nonce of the vault are signed with the first key that is entered.";
  const about = element("p", { className: "hint", role: "status" }, unused);
  const fresh = plainButton("New key");
  const show = async () => {
    seed.removeAttribute("aria-invalid");
    keyid.placeholder = "";
    about.textContent = unused;
    if (!seed.value.trim()) return;
    try {
      const key = await keyOf(seed.value.trim());
      keyid.placeholder = key.id;
      about.replaceChildren("Public key ", code(key.publicKey), ". For mode strict the operator sets ", code(`OMP_SIG_PUB_${keyid.value.trim() || "NAME"}`),
        " to it; on /logs its owner needs no name. For MRS the name is the address of the user's keys.");
    } catch (error) {
      seed.setAttribute("aria-invalid", "true");
      about.textContent = `Not a key yet: ${error.message}.`;
    }
    document.dispatchEvent(new Event("newkey"));
  };
  seed.addEventListener("input", show);
  keyid.addEventListener("input", show);
  fresh.addEventListener("click", () => { seed.value = base64url(random(32)); show(); });
  const key = () => {
    if (!seed.value.trim()) throw new Error("this is signed with a key: enter a seed under Authorise, or make a new key there");
    return keyOf(seed.value.trim());
  };
  return {
    inputs: [field(`${id}-seed`, "Seed of an Ed25519 key", "", seed), element("div", { className: "buttons" }, fresh), about,
      field(`${id}-keyid`, "Name of the key", "keyid, as the server knows it", keyid),
      field(`${id}-extra`, "Further fields of signed requests", "one on a line, Name: value", extra)],
    filled: () => seed.value.trim() !== "", key,
    apply: async (request) => {
      const own = await key();
      const sent = (name) => request.headers.some(([other]) => other.toLowerCase() === name.toLowerCase());
      request.headers.push(...headerLines(extra.value).filter(([name]) => !sent(name)));
      await signRequest(request, own, keyid.value.trim() || own.id);
    },
  };
}

/** Lines `Name: value` as pairs. */
function headerLines(text) {
  return text.split("\n").filter((line) => line.trim()).map((line) => {
    const colon = line.indexOf(":");
    if (colon < 1) throw new Error(`a header is written “Name: value”, not “${line}”`);
    return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
  });
}

/** The key that operations and vault tokens are signed with: the first that was entered. */
async function enteredKey() {
  const keyed = schemes.filter((one) => one.key);
  if (!keyed.length) throw new Error("this document has no scheme with a key");
  return (keyed.find((one) => one.filled()) ?? keyed[0]).key();
}

/** The panel with every scheme of the document. */
function accessPanel() {
  const declared = Object.entries(described.components?.securitySchemes ?? UNDECLARED).map(([name, one]) => [name, resolved(one)]);
  schemes = declared.map(([name, scheme]) => ({ name, scheme, ...KINDS[kindOf(scheme)](`access-${name.replace(/\W+/g, "-")}`, scheme) }));
  // Without a scheme that has a key, operations could not be signed: the page adds one of its own.
  if (!schemes.some((one) => one.key)) schemes.push({ name: "key", scheme: {}, ...signatureScheme("access-key") });
  const parts = schemes.map((one) => element("fieldset", {}, element("legend", {}, one.name),
    ...(one.scheme.description ? [element("div", { className: "note" }, ...prose(one.scheme.description))] : []), ...one.inputs, vaultLogin(one)));
  return element("details", { className: "access" }, element("summary", {}, "Authorise"),
    element("div", { className: "inside" }, element("p", { className: "hint" },
      "Enter what you have once; every route below uses what it asks for. It is kept in the memory of this page only, and is gone when the page is."), ...parts));
}

/** A button that asks the vault for a token, at the scheme that sends it; null elsewhere. */
function vaultLogin(one) {
  const bearers = schemes.filter((other) => other.input && kindOf(other.scheme) === "bearer");
  const place = bearers.find((other) => /avp|vault/i.test(other.name)) ?? bearers[0];
  if (one !== place || !described.paths[TOKEN] || !described.paths[CHALLENGE]) return null;
  const button = plainButton("Get a token of the vault for the key");
  const said = element("p", { className: "hint", role: "status" });
  button.addEventListener("click", async () => {
    try { one.input.value = await vaultToken(await enteredKey()); said.textContent = "The token is good for an hour."; }
    catch (error) { said.textContent = `No token: ${error.message}.`; }
  });
  return element("div", {}, element("div", { className: "buttons" }, button), said);
}

// --- which credentials a request gets ---

/** The alternatives of a route, each a list of schemes; without `security` each scheme may be used. */
function alternatives(operation) {
  const security = operation.security ?? described.security ?? (described.components?.securitySchemes ? [] : schemes.map((one) => ({ [one.name]: [] })));
  return security.map((one) => schemes.filter((scheme) => Object.hasOwn(one, scheme.name))).filter((one) => one.length);
}

/** A choice for the form of a route. */
function accessChoice() {
  return element("select", {}, element("option", { value: "auto" }, "what the route asks for"), element("option", { value: "none" }, "nobody"),
    ...schemes.filter((one) => one.inputs.length).map((one) => element("option", { value: `only ${one.name}` }, one.name)));
}

/** Add to `request` the credentials that `choice` stands for: by default the first alternative that was entered. */
async function authorise(request, operation, choice) {
  const chosen = choice === "auto"
    ? alternatives(operation).find((all) => all.every((one) => one.filled()) && all.some((one) => one.inputs.length)) ?? []
    : schemes.filter((one) => choice === `only ${one.name}`);
  // Signatures come last: they cover what the others add to the address.
  for (const one of [...chosen].sort((a, b) => Boolean(a.key) - Boolean(b.key))) await one.apply(request);
}
