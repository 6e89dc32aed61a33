// The view "Key": in mode strict, whoever reads objects and logs signs each request. The key is entered here.

import { readAs, readerName } from "./ask.js";
import { button, code, element, field, textInput } from "./elements.js";
import { keyOf, secretsIn } from "./keys.js";

export default function fill({ page }) {
  const seed = textInput({ type: "password", placeholder: "64 hexadecimal digits, or base64url" });
  const file = element("input", { type: "file" });
  const name = textInput({ placeholder: "the key ID, unless you say otherwise" });
  const said = element(
    "p",
    { role: "status" },
    readerName() ? ["Requests are signed as ", code(readerName()), "."] : "Nobody signs yet.",
  );
  file.addEventListener("change", async () => {
    seed.value = (await file.files[0].text()).trim();
  });
  const enter = async (event) => {
    event.preventDefault();
    try {
      const key = await keyOf(secretsIn(seed.value).seed);
      readAs(key, name.value.trim() || key.id);
      said.replaceChildren("Requests are signed as ", code(readerName()), " from now on.");
    } catch (error) {
      said.replaceChildren(`This is no key: ${error.message}.`);
    }
    seed.value = "";
  };
  const forget = () => {
    readAs(null);
    said.replaceChildren("The key is forgotten.");
  };
  page.append(
    element("h1", {}, "The key that you read with"),
    element(
      "p",
      { class: "lead" },
      "A server in mode strict shows objects and logs only to whom it knows, by a signature on each request. ",
      "The key stays in the memory of this page: it is in no storage and in no address, and is gone when the page is closed.",
    ),
    element(
      "form",
      { submit: enter },
      field("key-seed", "Secret key", seed, "or choose its file:"),
      field("key-file", "File of the key", file),
      field(
        "key-name",
        "Name of the key (keyid)",
        name,
        "For logs it is the key ID; for objects, the name under which the operator has configured it.",
      ),
      element(
        "div",
        { class: "buttons" },
        element("button", {}, "Read with this key"),
        button("Forget it", forget, { class: "plain" }),
      ),
    ),
    said,
  );
}
