// A profile of NEXUS: what its owner has changed beside what everybody begins with, and the messages (nexus §5, §6).
//
// An address is no secret: whoever knows it may read. What the defaults are is asked of an owner of whom nothing is stored.

import { askJson, pages, repeat } from "./ask.js";
import { address, button, code, counted, element, field, pretty, shownText, table, textInput, when } from "./elements.js";

const NOBODY = `0x${"0".repeat(40)}`;
const MOST_PAGES = 10;

export default async function fill({ path: [, owner], page, signal }) {
  const input = textInput({ value: owner ?? "", placeholder: "0x and 40 hexadecimal digits" });
  const submit = (event) => {
    event.preventDefault();
    location.hash = address(["profile", input.value.trim()]);
  };
  page.append(
    element("h1", {}, "Profile"),
    element(
      "form",
      { submit },
      field("profile-owner", "Address of the owner", input),
      element("div", { class: "buttons" }, element("button", {}, "Show"), await demoOwner()),
    ),
  );
  if (!owner) return;
  const [defaults, own] = await Promise.all([
    askJson("/api/v1/config", { token: NOBODY }),
    askJson("/api/v1/config", { token: owner }),
  ]);
  const settings = element("div", {}, settingsView(defaults, own));
  const messages = element("div", { "aria-live": "polite" });
  page.append(settings, element("h2", {}, "Messages"), messages);
  let shown = "";
  const read = async () => {
    const now = await askJson("/api/v1/config", { token: owner });
    const { found, more } = await messagesOf(owner);
    const text = JSON.stringify([now, found]);
    if (text === shown) return;
    shown = text;
    settings.replaceChildren(...settingsView(defaults, now));
    messages.replaceChildren(...conversations(found, more));
  };
  await read();
  repeat(900, read, signal);
}

async function demoOwner() {
  if (document.body.dataset.demo === undefined) return "";
  const { profile } = await askJson("/explore/demo.json");
  return button(
    "Ann's",
    () => {
      location.hash = address(["profile", profile]);
    },
    { class: "plain" },
  );
}

function settingsView(
  defaults,
  { effective_config: config, effective_prompts: prompts, user_overrides: overrides, editable_fields: editable },
) {
  const text = (value) => (value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value));
  const names = [
    ...new Set([...Object.keys(defaults.effective_config), ...Object.keys(config), ...Object.keys(overrides.config_overrides)]),
  ];
  const rows = names.map((name) => {
    const isOwn = Object.hasOwn(overrides.config_overrides, name);
    return element(
      "tr",
      { class: isOwn && "chosen" },
      [
        code(name),
        text(defaults.effective_config[name]),
        isOwn ? text(overrides.config_overrides[name]) : "",
        element("strong", {}, text(config[name])),
        editable.includes(`config.${name}`) ? "by the owner" : "by the operator",
      ].map((cell) => element("td", {}, cell)),
    );
  });
  return [
    table("Settings", ["Setting", "Default", "The owner's", "In force", "May be changed"], rows),
    ...Object.entries(prompts).map(([name, { content }]) =>
      element(
        "section",
        {},
        element("h2", {}, "Prompt ", code(name)),
        shownText(content || "(empty)", `the prompt ${name}`),
        element("p", { class: "hint" }, Object.hasOwn(overrides.prompt_overrides, name) ? "written by the owner" : "the default"),
      ),
    ),
  ];
}

async function messagesOf(owner) {
  const found = [];
  let number = 0;
  for await (const some of pages("/api/v1/messages?limit=100", { token: owner })) {
    found.push(...some);
    number += 1;
    if (number === MOST_PAGES) return { found, more: true };
  }
  return { found, more: false };
}

/** The messages by conversation, the newest conversation first, each from its beginning. */
function conversations(found, more) {
  const byRun = new Map();
  for (const one of found) byRun.set(one.run_id, [one, ...(byRun.get(one.run_id) ?? [])]);
  return [
    element(
      "p",
      { class: "hint" },
      `${counted(found.length, "message")} in ${counted(byRun.size, "conversation")}${more ? ", the newest" : ""}`,
    ),
    ...[...byRun].map(([run, messages]) =>
      element(
        "section",
        { class: "run" },
        element("h3", {}, run),
        element(
          "ol",
          { class: "talk" },
          messages.map((one) =>
            element(
              "li",
              { class: `by-${{ human: "human", ai: "ai" }[one.role] ?? "tool"}` },
              element("div", { class: "hint" }, one.role, ", ", when(one.created_at)),
              typeof one.content === "string"
                ? element("div", { class: "said" }, one.content)
                : shownText(pretty(one.content), "what a tool gave"),
            ),
          ),
        ),
      ),
    ),
  ];
}
