// Schemas (JSON Schema 2020-12, as OpenAPI 3.1 has them) in words, as a tree that opens down to the last member, and as
// an example where the document has none. References are followed where they are met; one that leads back to a schema
// that is being shown ends there.

let described = {};  // the OpenAPI document, in which references are looked up

/** What a JSON pointer of this document, `#/a/b`, points to; undefined for nothing or for another document. */
function pointed(reference) {
  if (!reference.startsWith("#")) return undefined;
  const steps = decodeURIComponent(reference.slice(1)).split("/").slice(1);
  return steps.reduce((at, step) => at?.[step.replaceAll("~1", "/").replaceAll("~0", "~")], described);
}

/** `value` without its reference: {value, names}, where `names` are the references that were followed. */
function followed(value, seen = []) {
  const names = [];
  let at = value ?? {};
  while (at?.$ref !== undefined && !names.includes(at.$ref) && !seen.includes(at.$ref)) {
    const { $ref, ...beside } = at;
    names.push($ref);
    at = { ...(pointed($ref) ?? { description: `${$ref} is not in this document.` }), ...beside };
  }
  return { value: at, names };
}

const resolved = (value) => followed(value).value;
const lastStep = (reference) => reference.slice(reference.lastIndexOf("/") + 1);
const isRecord = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

function typeOf(schema) {
  if (schema === true || schema === undefined) return "anything";
  if (schema === false) return "nothing";
  if (schema.$ref) return lastStep(schema.$ref);
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  for (const [word, joint] of [["oneOf", " | "], ["anyOf", " | "], ["allOf", " & "]]) {
    if (schema[word] && !schema.type) return [...new Set(schema[word].map(typeOf))].join(joint);
  }
  const names = [].concat(schema.type ?? (schema.properties ? "object" : schema.items ? "array" : "anything"));
  return names.map((name) => name === "array" && schema.items ? `array of ${typeOf(schema.items)}` : name).join(" | ");
}

const BOUNDS = {
  format: "format", minimum: "≥", exclusiveMinimum: ">", maximum: "≤", exclusiveMaximum: "<", multipleOf: "multiple of",
  minLength: "length ≥", maxLength: "length ≤", minItems: "elements ≥", maxItems: "elements ≤",
  minProperties: "members ≥", maxProperties: "members ≤", contentEncoding: "encoded as", contentMediaType: "holds",
};

function limitsOf(schema) {
  // A bound beyond 2^53 was rounded when the document was read; the format says it.
  const isExact = (bound) => !(Math.abs(bound) > Number.MAX_SAFE_INTEGER);
  const words = Object.entries(BOUNDS).filter(([name]) => name in schema && isExact(schema[name])).map(([name, text]) => `${text} ${schema[name]}`);
  if (schema.uniqueItems) words.push("each element once");
  if (schema.additionalProperties === false || schema.unevaluatedProperties === false) words.push("no other members");
  for (const mark of ["deprecated", "readOnly", "writeOnly"]) if (schema[mark]) words.push(mark);
  if ("default" in schema) words.push(`default ${JSON.stringify(schema.default)}`);
  return words.join(", ");
}

/** Description, bounds and pattern below a name; null if there is nothing to say. */
function notes(schema) {
  if (!isRecord(schema)) return null;
  const made = element("div", { className: "note" });
  if (schema.description) made.append(...prose(schema.description));
  if (limitsOf(schema)) made.append(element("p", {}, ...breakable(limitsOf(schema))));
  if (schema.pattern) made.append(element("p", {}, "matches ", element("code", { className: "scroll", tabIndex: 0, role: "group", "aria-label": "pattern" }, schema.pattern)));
  return made.firstChild ? made : null;
}

/** A schema and the parts of its `allOf`, theirs included: what all of them say holds of one value. */
function parts(schema, seen) {
  if (!isRecord(schema)) return [];
  return [schema, ...(schema.allOf ?? []).flatMap((part) => {
    const { value, names } = followed(part, seen);
    return parts(value, [...seen, ...names]);
  })];
}

/** What is one level below a schema: [name, schema, whether it must be there]. */
function below(schema, seen) {
  const all = parts(schema, seen);
  const must = new Set(all.flatMap((part) => part.required ?? []));
  return all.flatMap((part) => levelBelow(part, must));
}

function levelBelow(schema, must) {
  const found = Object.entries(schema.properties ?? {}).map(([name, one]) => [name, one, must.has(name)]);
  const add = (name, one) => { if (isRecord(one) && Object.keys(one).length) found.push([name, one, false]); };
  for (const [pattern, one] of Object.entries(schema.patternProperties ?? {})) add(`names like ${pattern}`, one);
  add(found.length ? "any other name" : "any name", schema.additionalProperties);
  (schema.prefixItems ?? []).forEach((one, at) => add(`element ${at + 1}`, one));
  add("each element", schema.items);
  for (const [word, title] of [["oneOf", "either"], ["anyOf", "possibly"]]) {
    (schema[word] ?? []).forEach((one, at) => add(one.$ref ? lastStep(one.$ref) : one.title ?? `${title} ${at + 1}`, one));
  }
  return found;
}

/** Name, type and whether it must be there, as the head of a row. */
function nameRow(name, type, required) {
  return [code(name), " ", element("span", { className: "type" }, ...breakable(type)), ...(required ? [" ", element("span", { className: "need" }, "required")] : [])];
}

/** The rows of what is below `schema`; `seen` are the references that lead to it. */
function memberRows(schema, seen) {
  return element("ul", { className: "rows" }, ...below(schema, seen).map(([name, one, required]) => {
    const { value, names } = followed(one, seen);
    const again = value?.$ref !== undefined;  // it is inside itself: shown above
    const title = nameRow(name, again ? `${typeOf(one)}, as above` : typeOf(one) === name ? typeOf(value) : typeOf(one), required);
    const path = [...seen, ...names];
    if (again || !below(value, path).length) return element("li", {}, element("div", { className: "leaf" }, ...title), notes(again ? {} : value));
    return element("li", {}, opening({}, element("summary", {}, ...title), () => [notes(value) ?? "", memberRows(value, path)]));
  }));
}

/** A schema as it is shown below a body or an answer. */
function schemaView(schema) {
  const { value, names } = followed(schema);
  const head = element("p", { className: "hint" }, ...breakable(names.length ? `${lastStep(names[0])}: ${typeOf(value)}` : typeOf(value)));
  const made = element("div", { className: "schema" }, head);
  const said = notes(value);
  if (said) made.append(said);
  if (!below(value, names).length) return made;
  const rows = memberRows(value, names);
  if (rows.querySelector("details")) {
    const all = plainButton("Open all members");
    all.addEventListener("click", () => openAll(rows));
    head.append(" ", all);
  }
  made.append(rows);
  return made;
}

// --- examples ---

const FORMATS = {
  "date-time": "2026-01-31T12:00:00.000Z", date: "2026-01-31", uuid: "00000000-0000-7000-8000-000000000000",
  uri: "urn:example:1", email: "ann@example.org", byte: "AAAA",
};
const PLAIN = { string: (one) => FORMATS[one.format] ?? "text".padEnd(one.minLength ?? 0, "."), boolean: () => false, null: () => null,
  integer: (one) => one.minimum ?? 0, number: (one) => one.minimum ?? 0 };

/** A value made from a schema: what it names as an example, or the least that it asks for. */
function sample(schema, seen = []) {
  const { value, names } = followed(schema, seen);
  if (!isRecord(value) || value.$ref !== undefined) return null;
  if (value.examples?.length) return value.examples[0];
  for (const name of ["example", "const", "default"]) if (name in value) return value[name];
  if (value.enum) return value.enum[0];
  const path = [...seen, ...names];
  const variant = value.oneOf?.[0] ?? value.anyOf?.[0];
  const parts = [...(value.allOf ?? []), ...(variant === undefined ? [] : [variant])].map((part) => sample(part, path));
  if (parts.length && !parts.every(isRecord)) return parts[0];
  const type = [].concat(value.type ?? (value.properties || parts.length ? "object" : value.items ? "array" : "string"))[0];
  if (type === "array") return value.minItems ? [sample(value.items, path)] : [];
  if (type !== "object") return PLAIN[type]?.(value) ?? null;
  const wanted = value.required ?? Object.keys(value.properties ?? {});
  return Object.assign({}, ...parts, ...wanted.map((name) => ({ [name]: sample(value.properties?.[name], path) })));
}

/** The examples of a body or an answer: [{title, value}], those of the document first; at worst one that is made. */
function examplesOf(media, makeOne = true) {
  const named = Object.entries(media.examples ?? {}).map(([name, one]) => [name, resolved(one)]).filter(([, one]) => "value" in one);
  const found = named.map(([name, one]) => ({ title: one.summary ?? name, value: one.value }));
  if ("example" in media) found.push({ title: "example", value: media.example });
  if (!found.length && makeOne && media.schema) found.push({ title: "made from the schema", value: sample(media.schema) });
  return found;
}

const isJson = (type) => /^application\/([^;]*\+)?json\b/.test(type);

/** An example as text of this media type: JSON indented, lines of JSON one a line, text as it is. */
function exampleText(value, type) {
  if (isJson(type)) return pretty(value);
  if (typeof value === "string") return value;
  return [].concat(value ?? []).map((one) => `${typeof one === "string" ? one : JSON.stringify(one)}\n`).join("");
}
