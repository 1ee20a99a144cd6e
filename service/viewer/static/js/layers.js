/** What can be laid over a scan: how it looks, and from which files it comes. */

import { NAMES, maskName } from "./files.js";
import { moved, ratio } from "./nifti.js";

/** The report's colour of lesions; then two scales that a reader can tell from it. */
const COLOURS = {
  mask: { R: [255, 255, 255, 255], G: [182, 182, 182, 182], B: [39, 39, 39, 39], A: [0, 0, 255, 255], I: [0, 127, 128, 255] },
  // What is exactly zero is clear.
  probability: { R: [60, 60, 214, 255], G: [10, 10, 64, 236], B: [110, 110, 60, 140], A: [0, 255, 255, 255], I: [0, 1, 128, 255] },
  agreement: { R: [24, 24, 33, 160], G: [50, 50, 145, 245], B: [110, 110, 160, 200], A: [0, 255, 255, 255], I: [0, 1, 128, 255] },
};

export const LAYERS = {
  mask: { title: "Lesion mask", about: "convincing majority of networks", shown: true, opacity: 0.65 },
  probability: { title: "Probability", about: "mean of the networks", shown: false, opacity: 0.7, threshold: 0.1 },
  agreement: { title: "Agreement", about: "share that votes lesion", shown: false, opacity: 0.7, threshold: 0.1 },
};

/** Teach NiiVue the colours. */
export function addColours(niivue) {
  for (const [name, colours] of Object.entries(COLOURS)) niivue.addColormap(`lesion-${name}`, colours);
}

/** Whether a case has the files of a layer. */
export function isThere(files, layer, space) {
  if (layer === "mask") return files.has(maskName(space));
  if (layer === "probability") return files.has(NAMES.probability);
  return files.has(NAMES.votes, NAMES.coverage);
}

/** A layer's image in a space: the mask has a file in each, the others are carried from MNI152. */
export async function layerImage(files, layer, space, mniToSpace) {
  if (layer === "mask") return files.image(maskName(space));
  const image =
    layer === "probability"
      ? await files.image(NAMES.probability)
      : ratio(...(await Promise.all([files.image(NAMES.votes), files.image(NAMES.coverage)])));
  return space === "MNI152" ? image : moved(image, mniToSpace);
}
