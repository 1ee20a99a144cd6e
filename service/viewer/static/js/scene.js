/** The images on the canvas: one scan, the layers over it, and the point looked at. */

import { NAMES, scanName } from "./files.js";
import { IDENTITY, apply, compose, invert, parseTransform } from "./geometry.js";
import { LAYERS, addColours, isThere, layerImage } from "./layers.js";
import { OUTLINE_SHADER } from "./outline.js";
import { affineOf, nearestVoxel, shapeOf, voxels } from "./nifti.js";

const { NVImage, Niivue, SLICE_TYPE } = globalThis.niivue;

/** NiiVue's kind of colour scale that starts at zero and hides what lies below the minimum. */
const HIDDEN_BELOW_MINIMUM = 2;
/** White matter is 1 in a preprocessed scan; lesions on FLAIR reach about 2. */
const PREPROCESSED_RANGE = { FLAIR: [0, 1.8], T1w: [0, 1.4] };
const PLANES = { axial: SLICE_TYPE.AXIAL, coronal: SLICE_TYPE.CORONAL, sagittal: SLICE_TYPE.SAGITTAL };
/** Share of the canvas left free below a view: its lower letter stands half outside. */
const FOOT = 0.035;
/** One large axial view, the other two beside it; shares of the canvas: left, top, width, height. */
const ALL_PLANES = [
  { sliceType: SLICE_TYPE.AXIAL, position: [0, 0, 0.6, 1 - FOOT] },
  { sliceType: SLICE_TYPE.CORONAL, position: [0.6, 0, 0.4, 0.5 - FOOT] },
  { sliceType: SLICE_TYPE.SAGITTAL, position: [0.6, 0.5, 0.4, 0.5 - FOOT] },
];
/** How wide outlines are. */
const OUTLINE_VOXELS = 0.4;
/** A scan's own range shows its brightest tissue white, which lesions on FLAIR are brighter than. */
const HEADROOM = { FLAIR: 1.35, T1w: 1.1 };
/** A pixel at least in the small views: thinner lines are lost there, there being no smoothing. */
const CROSSHAIR_MM = { all: 0.8, alone: 0.4 };
const OPTIONS = {
  isRadiologicalConvention: true,
  // As the report shows it: the front on the left.
  sagittalNoseLeft: true,
  showAllOrientationMarkers: true,
  dragAndDropEnabled: false,
  isAntiAlias: false,
  crosshairColor: [0.45, 0.78, 1, 0.75],
  crosshairWidth: CROSSHAIR_MM.all,
  crosshairWidthUnit: "mm",
  crosshairGap: 6,
  fontColor: [0.75, 0.8, 0.85, 1],
  logLevel: "error",
};

/** Shows a case; `onMove` hears the point looked at, in MNI152 mm, and the lesion there (0: none). */
export class Scene {
  #niivue = new Niivue(OPTIONS);
  #files;
  #fromMni = { MNI152: IDENTITY };
  #labels = null;
  #insides = new Map();
  #images = new Map();
  #point = [0, 0, 0];

  constructor(files, { onMove }) {
    this.#files = files;
    this.contrast = "FLAIR";
    this.native = false;
    this.plane = "all";
    this.outlined = false;
    this.settings = structuredClone(LAYERS);
    this.#niivue.onLocationChange = ({ mm }) => {
      this.#point = apply(invert(this.#fromMni[this.space]), mm);
      onMove(this.#point, this.#lesionAt(this.#point));
    };
  }

  /** The space that is shown: MNI152, or that of the scan as acquired. */
  get space() {
    return this.native ? this.contrast : "MNI152";
  }

  /** Take hold of the canvas, and load what every view needs. */
  async open(canvas) {
    await this.#niivue.attachToCanvas(canvas, false);
    addColours(this.#niivue);
    this.setPlane(this.plane);
    if (this.#files.has(NAMES.t1wToMni, NAMES.flairToT1w)) {
      const t1wToMni = parseTransform(await this.#files.text(NAMES.t1wToMni));
      const flairToT1w = parseTransform(await this.#files.text(NAMES.flairToT1w));
      this.#fromMni.T1w = invert(t1wToMni);
      this.#fromMni.FLAIR = invert(compose(t1wToMni, flairToT1w));
    }
    if (this.#files.has(NAMES.labels)) this.#labels = await this.#files.image(NAMES.labels);
  }

  /** Whether a choice of scan can be shown. */
  canShow(contrast, native) {
    const space = native ? contrast : "MNI152";
    return space in this.#fromMni && this.#files.has(scanName(space, contrast));
  }

  /** Whether a layer can be shown over the present scan. */
  hasLayer(layer) {
    return isThere(this.#files, layer, this.space);
  }

  /** Show another scan, at the same point. */
  async show({ contrast = this.contrast, native = this.native }) {
    const point = this.#point;
    const space = native ? contrast : "MNI152";
    const scan = await toImage(await this.#files.image(scanName(space, contrast)));
    if (native) [scan.cal_min, scan.cal_max] = [0, scan.cal_max * HEADROOM[contrast]];
    else [scan.cal_min, scan.cal_max] = PREPROCESSED_RANGE[contrast];
    this.#clear();
    this.contrast = contrast;
    this.native = native;
    this.#niivue.addVolume(scan);
    for (const layer of Object.keys(LAYERS)) await this.#addLayer(layer);
    this.goTo(point);
  }

  /** Change how a layer looks: shown, opacity, threshold. */
  async set(layer, change) {
    Object.assign(this.settings[layer], change);
    if (!this.#images.has(layer)) await this.#addLayer(layer);
    else this.#refresh();
  }

  /** Draw the layers' outlines alone, or filled. */
  setOutlines(outlined) {
    this.outlined = outlined;
    this.#niivue.overlayOutlineWidth = outlined ? OUTLINE_VOXELS : 0;
    for (const layer of this.#images.keys()) this.#style(layer);
    this.#niivue.setCustomSliceShader(outlined ? OUTLINE_SHADER : "");
  }

  /** Look at one plane, or at all three. */
  setPlane(plane) {
    this.plane = plane;
    const alone = [{ sliceType: PLANES[plane], position: [0, 0, 1, 1 - FOOT] }];
    this.#niivue.opts.crosshairWidth = plane === "all" ? CROSSHAIR_MM.all : CROSSHAIR_MM.alone;
    this.#niivue.setCustomLayout(plane === "all" ? ALL_PLANES : alone);
  }

  /** Look at a point in MNI152 mm. */
  goTo(point) {
    const mm = apply(this.#fromMni[this.space], point);
    this.#niivue.scene.crosshairPos = this.#niivue.mm2frac(mm, 0, true);
    this.#niivue.createOnLocationChange();
    this.#niivue.drawScene();
  }

  /** Look at a lesion: at its middle, or where that lies outside, at the nearest of its voxels. */
  goToLesion({ id, centroid_mni_mm: middle }) {
    if (!this.#insides.has(id)) this.#insides.set(id, this.#inside(id, middle));
    this.goTo(this.#insides.get(id));
  }

  /** Move by voxels of the scan: to the patient's right, forwards, up. */
  move(right, forward, up) {
    this.#niivue.moveCrosshairInVox(right, forward, up);
  }

  async #addLayer(layer) {
    if (!this.settings[layer].shown || !this.hasLayer(layer)) return;
    const { space } = this;
    const image = await toImage(await layerImage(this.#files, layer, space, this.#fromMni[space]));
    // Another scan may have been chosen meanwhile.
    if (space !== this.space || this.#images.has(layer)) return;
    image.colormap = `lesion-${layer}`;
    image.colormapType = HIDDEN_BELOW_MINIMUM;
    this.#images.set(layer, image);
    this.#style(layer);
    this.#niivue.addVolume(image);
  }

  #refresh() {
    for (const layer of this.#images.keys()) this.#style(layer);
    this.#niivue.updateGLVolume();
  }

  #style(layer) {
    const { shown, opacity, threshold = 0 } = this.settings[layer];
    const image = this.#images.get(layer);
    // Outlines run where a layer is half as opaque as within.
    image.opacity = shown ? (this.outlined ? 1 : opacity) : 0;
    // What is exactly zero never shows.
    [image.cal_min, image.cal_max] = [Math.max(threshold, 1e-3), 1];
  }

  #clear() {
    this.#images.clear();
    for (const volume of [...this.#niivue.volumes].reverse()) this.#niivue.removeVolume(volume);
  }

  #inside(id, middle) {
    if (this.#labels === null || this.#lesionAt(middle) === id) return middle;
    return nearestVoxel(this.#labels, id, middle) ?? middle;
  }

  /** The number of the lesion at a point in MNI152 mm; 0 where there is none. */
  #lesionAt(point) {
    if (this.#labels === null) return 0;
    const [i, j, k] = apply(invert(affineOf(this.#labels)), point).map(Math.round);
    const [ni, nj, nk] = shapeOf(this.#labels);
    const inside = i >= 0 && j >= 0 && k >= 0 && i < ni && j < nj && k < nk;
    return inside ? voxels(this.#labels)[i + ni * (j + nj * k)] : 0;
  }
}

function toImage(buffer) {
  return NVImage.loadFromUrl({ url: buffer, name: "image.nii", ignoreZeroVoxels: true });
}
