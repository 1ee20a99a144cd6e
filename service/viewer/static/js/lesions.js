/** The table of lesions: a row leads to its lesion, and the lesion looked at marks its row. */

import { byId, cubicMillimetres, element, number } from "./dom.js";

const COLUMNS = [
  { field: "volume_mm3", name: "mm³", about: "volume", text: cubicMillimetres },
  { field: "largest_diameter_mm", name: "mm", about: "largest diameter", text: (value) => number(value, 1) },
  { field: "location", name: "Where", about: "location class, and side", text: (value, { side }) => `${value.replaceAll("_", " ")}, ${side}` },
  { field: "agreement", name: "Agree, %", about: "share of the networks that vote lesion, over the lesion", text: (value) => number(100 * value) },
];

/** Shows the lesions of a report; `onChoose` hears the lesion that a person goes to. */
export class LesionTable {
  #buttons = new Map();
  #chosen = null;

  constructor(lesions, onChoose) {
    this.lesions = lesions;
    this.onChoose = onChoose;
    byId("lesions-title").textContent = `Lesions (${number(lesions.length)})`;
    byId("no-lesions").hidden = lesions.length > 0;
    for (const [id, step] of [["previous", -1], ["next", 1]]) {
      byId(id).hidden = lesions.length === 0;
      byId(id).addEventListener("click", () => this.step(step));
    }
    if (lesions.length > 0) byId("lesion-scroll").replaceChildren(this.#table());
  }

  /** Go to the lesion so many rows further, round and round. */
  step(by) {
    if (this.lesions.length === 0) return;
    const count = this.lesions.length;
    const present = this.lesions.findIndex(({ id }) => id === this.#chosen);
    this.choose(this.lesions[(Math.max(present, by > 0 ? -1 : 0) + by + count) % count].id);
  }

  /** Go to a lesion. */
  choose(id) {
    this.mark(id);
    this.onChoose(this.lesions.find((lesion) => lesion.id === id));
  }

  /** Mark the row of the lesion looked at. */
  mark(id) {
    if (id === this.#chosen || !this.#buttons.has(id)) return;
    this.#row(this.#chosen)?.removeAttribute("aria-current");
    this.#chosen = id;
    this.#row(id).setAttribute("aria-current", "true");
    this.#row(id).scrollIntoView({ block: "nearest" });
  }

  #row(id) {
    return this.#buttons.get(id)?.closest("tr");
  }

  #table() {
    // Another version may have measured less.
    this.columns = COLUMNS.filter(({ field }) => field in this.lesions[0]);
    const heads = this.columns.map(({ field, name, about }) =>
      element("th", { scope: "col", title: about, className: kind(field) }, [name]),
    );
    const table = element("table", { className: "lesions" }, [
      element("thead", {}, [element("tr", {}, [element("th", { scope: "col", title: "number, 1 is the largest" }, ["No."]), ...heads])]),
      element("tbody", {}, this.lesions.map((lesion) => this.#line(lesion))),
    ]);
    table.addEventListener("keydown", (event) => this.#walk(event));
    return table;
  }

  #line(lesion) {
    const button = element("button", { type: "button", "aria-label": `Go to lesion ${lesion.id}` }, [String(lesion.id)]);
    this.#buttons.set(lesion.id, button);
    const cells = this.columns.map(({ field, text }) =>
      element("td", { className: kind(field) }, [text(lesion[field], lesion)]),
    );
    const row = element("tr", {}, [element("th", { scope: "row" }, [button]), ...cells]);
    row.addEventListener("click", () => this.choose(lesion.id));
    return row;
  }

  #walk(event) {
    const by = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    this.step(by);
    this.#buttons.get(this.#chosen).focus();
  }
}

function kind(field) {
  return field === "location" ? "" : "number";
}
