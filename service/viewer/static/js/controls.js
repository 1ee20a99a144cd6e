/** The choices beside the images: scan, plane, and how each layer looks. */

import { byId, element } from "./dom.js";
import { LAYERS } from "./layers.js";

/** Wire the controls to a scene; `run` shows that something is being loaded, and what fails. */
export class Controls {
  constructor(scene, run) {
    this.scene = scene;
    this.run = run;
    this.tools = byId("tools");
    this.tools.addEventListener("change", () => this.#choose());
    byId("layers").replaceChildren(...Object.keys(LAYERS).map((layer) => this.#row(layer)), this.#outlines());
    this.#enable();
  }

  /** Press a control as a key would: the next choice of a group, or a layer's switch. */
  press(name) {
    if (name in LAYERS || name === "outlines") return byId(`${name}-shown`).click();
    const choices = [...this.tools.elements[name]].filter((choice) => !choice.disabled);
    const present = choices.findIndex((choice) => choice.checked);
    return choices[(present + 1) % choices.length].click();
  }

  #choose() {
    const { contrast, space, plane } = this.tools.elements;
    if (plane.value !== this.scene.plane) this.scene.setPlane(plane.value);
    const native = space.value === "native";
    if (contrast.value === this.scene.contrast && native === this.scene.native) return;
    this.run(`Loading the ${contrast.value} …`, async () => {
      await this.scene.show({ contrast: contrast.value, native });
      this.#enable();
    });
  }

  /** Offer only what the case has files for. */
  #enable() {
    const { contrast, space } = this.tools.elements;
    for (const choice of contrast) choice.disabled = !this.scene.canShow(choice.value, this.scene.native);
    for (const choice of space) choice.disabled = !this.scene.canShow(this.scene.contrast, choice.value === "native");
    for (const layer of Object.keys(LAYERS)) byId(`${layer}-shown`).disabled = !this.scene.hasLayer(layer);
  }

  #row(layer) {
    const { title, about, shown, opacity, threshold } = LAYERS[layer];
    const box = element("input", { type: "checkbox", id: `${layer}-shown`, checked: shown });
    box.addEventListener("change", () => {
      sliders.hidden = !box.checked;
      this.run(`Loading the ${title.toLowerCase()} …`, () => this.scene.set(layer, { shown: box.checked }));
    });
    const sliders = element("div", { className: "sliders", hidden: !shown }, [
      ...this.#slider(layer, "opacity", "Opacity", opacity),
      ...(threshold === undefined ? [] : this.#slider(layer, "threshold", "At least", threshold)),
    ]);
    return element("div", { className: "layer" }, [
      box,
      element("label", { htmlFor: box.id }, [element("span", { className: `swatch ${layer}` }), title, element("small", {}, [about])]),
      sliders,
    ]);
  }

  #slider(layer, setting, title, value) {
    const id = `${layer}-${setting}`;
    const shown = element("output", { htmlFor: id }, [value.toFixed(2)]);
    const input = element("input", { type: "range", id, min: 0, max: 1, step: 0.05, value });
    let waits = false;
    input.addEventListener("input", () => {
      shown.textContent = input.valueAsNumber.toFixed(2);
      if (waits) return;
      waits = true;
      requestAnimationFrame(() => {
        waits = false;
        this.scene.set(layer, { [setting]: input.valueAsNumber });
      });
    });
    return [element("label", { htmlFor: id }, [title]), input, shown];
  }

  #outlines() {
    const box = element("input", { type: "checkbox", id: "outlines-shown" });
    box.addEventListener("change", () => this.scene.setOutlines(box.checked));
    return element("div", { className: "layer" }, [box, element("label", { htmlFor: box.id }, ["Outlines only"])]);
  }
}
