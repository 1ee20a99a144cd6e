/** Keys of the images. They act while the canvas has the focus, so that none is taken from readers. */

import { byId, element } from "./dom.js";

/** Voxels to the patient's right, forwards and up, as the arrows point on the screen. */
const RIGHT = [1, 0, 0];
const FORWARD = [0, 1, 0];
const UP = [0, 0, 1];
const MOVES = {
  axial: { across: RIGHT, upwards: FORWARD, through: UP },
  coronal: { across: RIGHT, upwards: UP, through: FORWARD },
  sagittal: { across: FORWARD, upwards: UP, through: RIGHT },
};
const LETTERS = {
  n: "Next lesion",
  p: "Previous lesion",
  c: "Other contrast",
  s: "Other space",
  v: "Next view",
  m: "Lesion mask",
  b: "Probability",
  a: "Agreement",
  o: "Outlines only",
};
const PRESSES = { c: "contrast", s: "space", v: "plane", m: "mask", b: "probability", a: "agreement", o: "outlines" };

/** Wire the keys, and list them. */
export function useKeyboard(scene, controls, table) {
  const film = byId("film");
  for (const kind of ["keydown", "keyup"]) {
    film.addEventListener(
      kind,
      (event) => {
        // NiiVue has keys of its own: ours take their place.
        event.stopPropagation();
        if (kind === "keydown" && act(event, scene, controls, table)) event.preventDefault();
      },
      { capture: true },
    );
  }
  const rows = [["← → ↑ ↓", "Move in the slice"], ["Page ↑ ↓", "Next slice"], ...Object.entries(LETTERS)];
  byId("keys").replaceChildren(
    ...rows.flatMap(([key, what]) => [element("dt", {}, [element("kbd", {}, [key])]), element("dd", {}, [what])]),
  );
}

function act(event, scene, controls, table) {
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  const step = stepOf(event.key, MOVES[scene.plane] ?? MOVES.axial);
  if (step) scene.move(...step);
  else if (event.key === "n") table.step(1);
  else if (event.key === "p") table.step(-1);
  else if (event.key in PRESSES) controls.press(PRESSES[event.key]);
  else return false;
  return true;
}

function stepOf(key, { across, upwards, through }) {
  // The patient's right is on the left; so is the front, seen from the side.
  const steps = {
    ArrowLeft: across,
    ArrowRight: opposite(across),
    ArrowUp: upwards,
    ArrowDown: opposite(upwards),
    PageUp: through,
    PageDown: opposite(through),
  };
  return steps[key];
}

function opposite(step) {
  return step.map((value) => -value);
}
