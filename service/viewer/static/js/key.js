/** The API key of this tab: asked for where the service wants one, forgotten with the tab. */

import { byId, element } from "./dom.js";

const NAME = "dlb-api-key";

/** The key, or nothing. */
export function apiKey() {
  return sessionStorage.getItem(NAME) ?? "";
}

/** Headers that say who asks. */
export function authorization() {
  return apiKey() ? { Authorization: `Bearer ${apiKey()}` } : {};
}

/** Let a person enter a key, or take it away; resolves once they have. */
export function askForKey(reason) {
  const input = element("input", { type: "password", id: "api-key", autocomplete: "off", value: apiKey() });
  const dialog = element("dialog", { className: "card" }, [
    element("form", { method: "dialog" }, [
      element("h2", {}, ["API key"]),
      element("p", {}, [reason]),
      element("div", { className: "field" }, [element("label", { htmlFor: "api-key" }, ["Key"]), input]),
      element("p", { className: "hint" }, ["Kept in this tab until it is closed."]),
      element("button", { className: "main", type: "submit" }, ["Use this key"]),
    ]),
  ]);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      sessionStorage.setItem(NAME, input.value.trim());
      dialog.remove();
      showButton();
      resolve();
    });
  });
}

/** Where no key was asked for, there is none to change. */
function showButton() {
  byId("key-button").hidden = !apiKey();
}

/** Wire the page's key button. */
export function offerKey(button) {
  showButton();
  button.addEventListener("click", async () => {
    await askForKey("A service that knows its users asks for a key; others need none.");
    location.reload();
  });
}
