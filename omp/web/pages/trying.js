// Trying a route: a form made from its description, the request, the answer as it arrives, and the same with curl.

const SHOWN = 200000;  // characters of an answer that are put on the page
const OPERATIONS = "/logs/{log}/operations";  // the route whose JSON body is an operation, which is signed

const FILLED_IN = /^(accept|authorization|content-type|content-digest|signature|signature-input)$/i;

/** An input for a parameter: a choice where only some values fit. */
function parameterInput(one) {
  const schema = resolved(one.schema);
  const values = schema.enum ?? (schema.type === "boolean" ? [true, false] : null);
  const example = one.example ?? Object.values(one.examples ?? {})[0]?.value ?? schema.example ?? schema.examples?.[0];
  if (values) {
    return element("select", { required: Boolean(one.required) }, element("option", { value: "" }, "default" in schema ? `(${schema.default})` : "(not sent)"),
      ...values.map((value) => element("option", { value: String(value) }, String(value))));
  }
  const shown = "default" in schema ? String(schema.default) : one.required ? "" : example === undefined ? "" : `such as ${example}`;
  const input = textInput({ required: Boolean(one.required), placeholder: shown, value: one.required && example !== undefined ? String(example) : "" });
  input.own = true;  // nobody has typed it yet
  return input;
}

/** The media types of the successful answers, where there is a choice. */
function answerTypes(operation) {
  const good = Object.entries(operation.responses ?? {}).filter(([status]) => /^2/.test(status)).map(([, one]) => resolved(one));
  return [...new Set(good.flatMap((one) => Object.keys(one.content ?? {})))];
}

/** The fields of a body: {parts (nodes), signs(), read(log): Promise of {type, text}}; null for a route without one. */
function bodyFields(id, path, operation) {
  const content = resolved(operation.requestBody ?? {}).content ?? {};
  const types = Object.keys(content);
  if (!types.length) return null;
  const type = element("select", {}, ...types.map((one) => element("option", {}, one)));
  const example = element("select", {});
  const text = element("textarea", { rows: 4, spellcheck: false });
  const sign = element("input", { type: "checkbox" });
  const isOperation = (one) => path === OPERATIONS && isJson(one);
  const examples = () => [...(isOperation(type.value) ? [{ title: "the first operation of a log, signed when it is sent", value: FIRST_OPERATION }] : []),
    ...examplesOf(content[type.value], !isOperation(type.value))];
  // An operation is sent as its canonical bytes; while it is to be signed it can be written in any way.
  const written = (value) => isOperation(type.value) && !sign.checked ? canonical(value) : exampleText(value, type.value);
  const fill = () => {
    const chosen = examples()[example.selectedIndex];
    text.value = chosen === undefined ? "" : written(chosen.value);
    text.rows = Math.min(16, Math.max(4, text.value.split("\n").length));
  };
  const signField = element("div", {}, element("label", {}, sign, "Sign it with the key under Authorise ",
    element("span", { className: "hint" }, "fills in author, log, ts and sig, and sends the canonical bytes")));
  const exampleField = field(`${id}-example`, "Example", "", example);
  const choose = () => {
    signField.hidden = !isOperation(type.value);
    sign.checked = !signField.hidden;
    const all = examples();
    example.replaceChildren(...all.map((one) => element("option", {}, one.title)));
    exampleField.hidden = all.length < 2;
    fill();
  };
  type.addEventListener("change", choose);
  example.addEventListener("change", fill);
  sign.id = `${id}-sign`;
  sign.addEventListener("change", () => { try { text.value = written(JSON.parse(text.value)); } catch { /* no JSON yet: left as it is */ } });
  choose();
  return {
    parts: [types.length > 1 ? field(`${id}-type`, "Media type", "", type) : null, exampleField, field(`${id}-body`, "Body", types.length > 1 ? "" : types[0], text), signField],
    signs: () => !signField.hidden && sign.checked,
    read: async (log) => ({ type: type.value, text: !signField.hidden && sign.checked ? await signedOperation(text.value, await enteredKey(), log) : text.value }),
  };
}

/** The form of a route. */
function tryForm(id, path, method, operation, parameters) {
  // What the page fills in itself has no input: the credentials, and what a signature brings along.
  const inputs = parameters.filter((one) => one.in !== "cookie" && !(one.in === "header" && FILLED_IN.test(one.name))).map((one) => ({ ...one, input: parameterInput(one) }));
  const types = answerTypes(operation);
  const accept = element("select", {}, element("option", { value: "" }, "(as the server likes)"), ...types.map((one) => element("option", {}, one)));
  const access = accessChoice();
  const body = bodyFields(id, path, operation);
  const headers = element("textarea", { rows: 2, spellcheck: false, placeholder: "If-Match: \"…\"" });
  const send = element("button", { type: "submit", title: "Ctrl+Enter" }, "Send");
  const stop = element("button", { type: "button", className: "plain", hidden: true }, "Stop");
  const status = element("p", { className: "status", role: "status" });
  const shown = element("div");
  const valueOf = (name) => inputs.find((one) => one.in === "path" && one.name === name)?.input;

  const request = async () => {
    const filled = inputs.filter((one) => one.in === "path").reduce((made, one) =>
      made.replace(`{${one.name}}`, encodeURIComponent(one.input.value)), path);
    const query = inputs.filter((one) => one.in === "query" && one.input.value !== "")
      .map((one) => `${encodeURIComponent(one.name)}=${encodeURIComponent(one.input.value)}`).join("&");
    const made = { method: method.toUpperCase(), url: addressed(filled + (query && `?${query}`)), headers: [], body: undefined };
    const sent = body ? await body.read(valueOf("log")?.value) : { text: "" };
    if (sent.text !== "") { made.body = sent.text; made.headers.push(["Content-Type", sent.type]); }
    if (accept.value) made.headers.push(["Accept", accept.value]);
    made.headers.push(...inputs.filter((one) => one.in === "header" && one.input.value !== "").map((one) => [one.name, one.input.value]), ...headerLines(headers.value));
    await authorise(made, operation, access.value);
    return made;
  };

  const form = element("form", { className: "try" },
    element("h3", {}, "Try it"),
    ...inputs.map((one) => field(`${id}-${one.in}-${one.name}`, one.name, `${one.in}, ${typeOf(one.schema)}`, one.input)),
    ...(body?.parts ?? []),
    types.length > 1 ? field(`${id}-accept`, "Answer", "Accept", accept) : null,
    field(`${id}-access`, "As", "the credentials under Authorise", access),
    element("details", { className: "more" }, element("summary", {}, "More header fields"),
      field(`${id}-headers`, "Header fields", "one on a line, Name: value", headers)),
    element("div", { className: "buttons" }, send, stop), element("div", { className: "result" }, status, shown));

  // An operation goes into the log of the key that signs it, unless another log is named.
  const ownLog = async () => {
    const log = valueOf("log");
    if (!body?.signs() || !log || (log.value && !log.own)) return;
    try { log.value = (await enteredKey()).log; log.own = true; } catch { /* no key yet */ }
  };
  if (body) {
    document.addEventListener("newkey", ownLog);
    valueOf("log")?.addEventListener("input", (event) => { event.target.own = false; });
    ownLog();
  }
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); form.requestSubmit(); }
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (send.getAttribute("aria-disabled") === "true") return;
    const control = new AbortController();
    stop.onclick = () => control.abort();
    // The button is not disabled, or it would lose the focus.
    send.setAttribute("aria-disabled", "true");
    stop.hidden = false;
    status.className = "status";
    shown.replaceChildren();
    try { await perform(await request(), control, status, shown); }
    catch (error) { status.className = "status bad"; status.textContent = `Not sent: ${error.message}`; }
    finally {
      if (document.activeElement === stop) send.focus();
      send.removeAttribute("aria-disabled");
      stop.hidden = true;
    }
  });
  return form;
}

/** The address of a target at this server, as the browser will send it. Browsers resolve segments of dots: refused. */
function addressed(target) {
  const url = new URL(target, location.origin);
  if (url.pathname !== target.split("?")[0]) throw new Error("a browser cannot send this path: a segment of it is . or ..");
  return url.href;
}

/** The request as the browser takes it; it leaves out silently what pages may not set, which is an error here. */
function browserRequest(request, signal) {
  const made = new Request(request.url, { method: request.method, headers: request.headers, body: request.body, signal, cache: "no-store", credentials: "omit" });
  const dropped = request.headers.find(([name]) => !made.headers.has(name));
  if (dropped) throw new Error(`a browser does not let a page send the field ${dropped[0]}`);
  return made;
}

/** Send it, and show the answer while it arrives: a stream of events goes on until Stop. */
async function perform(request, control, status, shown) {
  const made = browserRequest(request, control.signal);
  const began = performance.now();
  const head = shownText("", "Header fields of the answer"), body = shownText("", "Body of the answer");
  status.textContent = "Sent; waiting for the answer …";
  let text = "", stopped = false, answer, said = "";
  try {
    answer = await fetch(made);
    said = `${answer.status} ${answer.statusText}`;
    status.textContent = said;
    status.classList.add(answer.ok || answer.status === 304 ? "good" : "bad");
    head.textContent = [...answer.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    shown.append(element("h4", {}, "Header fields"), head, element("h4", {}, "Body"), body);
    const reader = answer.body?.getReader(), decoder = new TextDecoder();
    while (reader) {
      const { done, value } = await reader.read();
      if (done) break;
      if (text.length < SHOWN) text += decoder.decode(value, { stream: true });
      body.textContent = text.slice(0, SHOWN);
    }
  } catch (error) {
    stopped = error.name === "AbortError";
    if (!stopped) status.className = "status bad";
    said = stopped ? said || "Nothing yet" : `${answer ? `${answer.status}, then the connection broke` : "No answer"}: ${error.message}`;
  }
  status.textContent = stopped ? `${said}, stopped` : answer ? `${said}, ${Math.round(performance.now() - began)} ms` : said;
  if (answer) body.textContent = readable(text, answer.headers.get("Content-Type") ?? "") || "(empty)";
  shown.append(element("h4", {}, "The same with curl"), copyable(curl(request), "the curl command"));
  if (request.base) {
    shown.append(element("p", { className: "hint" }, "The signature holds a nonce, so a server in mode strict takes this request once; Send makes a new one."),
      element("h4", {}, "What was signed"), copyable(request.base, "the signature base"));
  }
}

function readable(text, type) {
  if (text.length >= SHOWN) return `${text.slice(0, SHOWN)}\n… (only the beginning is shown)`;
  if (!isJson(type)) return text;
  // Only shown re-indented if no number changes by it: JavaScript rounds integers beyond 2**53.
  try { const value = JSON.parse(text); return JSON.stringify(value) === text ? pretty(value) : text; }
  catch { return text; }
}

/** The command that sends exactly this: every field, and the body byte for byte. */
function curl(request) {
  const quoted = (word) => `'${word.replaceAll("'", "'\\''")}'`;
  const method = { GET: "", HEAD: " -I" }[request.method] ?? ` -X ${request.method}`;
  const lines = [`curl -i${method} ${quoted(request.url)}`];
  // “Name:” would take a field away; “Name;” sends it empty.
  for (const [name, value] of request.headers) lines.push(`-H ${quoted(value === "" ? `${name};` : `${name}: ${value}`)}`);
  // Not --data-binary: a body that begins with @ would be the name of a file.
  if (request.body !== undefined) lines.push(`--data-raw ${quoted(request.body)}`);
  return lines.join(" \\\n  ");
}
