// One call a protocol and more through the types that openapi-typescript has generated: calls.js URL OPERATION.
// OPERATION is a file with the canonical bytes of a signed operation.

import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

declare const process: { argv: string[] };

const [url, text] = process.argv.slice(2) as [string, string];
const client = createClient<paths>({ baseUrl: url });

/** The body of an answer that has to be a success. */
function given<T>(answer: { data?: T; error?: unknown }): T {
  if (answer.data === undefined) throw new Error(JSON.stringify(answer.error));
  return answer.data;
}

function require(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

const health = given(await client.GET("/health"));
require(health.status === "ok", "health");

const made = given(await client.POST("/objects", { body: { namespace: "ci", content: { x: 1 } } }));
const fetched = given(await client.GET("/objects/{id}", { params: { path: { id: made.id } } }));
require(fetched.content["x"] === 1, "object");

const operation = JSON.parse(text) as components["schemas"]["Operation"];
const path = { log: operation.log };
const outcome = given(await client.POST("/logs/{log}/operations", { params: { path }, body: operation }));
require("status" in outcome && outcome.status === "accepted", "operation");
const heads = given(await client.GET("/logs/{log}/heads", { params: { path } }));
require("id" in outcome && heads.heads[0] === outcome.id, "heads");

const vault = given(await client.GET("/.well-known/avp"));
require(vault.limits.maxMembers > 0, "vault");
const ed25519PublicKey = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
given(await client.POST("/api/auth/keypair/challenge", { body: { ed25519PublicKey } }));

const login = given(await client.POST("/auth/register", { body: { username: "mark", password: "secret" } }));
const location = { lat: 48.2, lon: 16.37 };
given(
  await client.POST("/register", {
    body: { space: { type: "sphere", center: location, radius: 50 }, service_point: "https://example.com/place" },
    headers: { Authorization: `Bearer ${login.token}` },
  }),
);
const found = given(await client.POST("/search", { body: { location, range: 10 } }));
const space = found.results[0]?.space;
require(space?.type === "sphere" && space.radius === 50, "place");

const headers = { Authorization: `Bearer 0x${"11".repeat(20)}` };
const profile = given(await client.GET("/api/v1/config", { headers }));
require(profile.editable_fields.length > 0, "profile");
const commands = given(await client.GET("/api/v1/commands"));
require(commands.length > 0, "commands");
console.log("the generated TypeScript client made 12 calls to five protocols");
