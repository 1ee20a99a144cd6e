/** A case's files: fetched once, inflated, kept; and the list to download them from. */

import { bytes, request } from "./api.js";
import { byId, element, size } from "./dom.js";
import { apiKey } from "./key.js";
import { inflate } from "./nifti.js";

export const NAMES = {
  labels: "space-MNI152_desc-lesions_dseg.nii.gz",
  probability: "space-MNI152_label-lesion_probseg.nii.gz",
  votes: "space-MNI152_desc-votes_dseg.nii.gz",
  coverage: "space-MNI152_desc-coverage_dseg.nii.gz",
  t1wToMni: "from-T1w_to-MNI152_xfm.txt",
  flairToT1w: "from-FLAIR_to-T1w_xfm.txt",
  report: "report.html",
};

/** The scan that lies in a space: preprocessed in MNI152, as it came elsewhere. */
export function scanName(space, contrast) {
  return space === "MNI152"
    ? `space-MNI152_desc-preproc_${contrast}.nii.gz`
    : `space-${space}_desc-brain_${contrast}.nii.gz`;
}

/** The lesion mask on a space's own grid. */
export function maskName(space) {
  return `space-${space}_label-lesion_mask.nii.gz`;
}

/** The files of one case, by name. */
export class CaseFiles {
  #kept = new Map();

  constructor(artefacts) {
    this.all = artefacts;
    this.paths = new Map(artefacts.map(({ name, href }) => [name, href]));
  }

  has(...names) {
    return names.every((name) => this.paths.has(name));
  }

  /** An image's bytes, inflated. */
  image(name) {
    if (!this.#kept.has(name)) {
      const coming = bytes(this.paths.get(name)).then(inflate);
      // A failure is not kept: the next call tries again.
      coming.catch(() => this.#kept.delete(name));
      this.#kept.set(name, coming);
    }
    return this.#kept.get(name);
  }

  async text(name) {
    return (await request(this.paths.get(name))).text();
  }
}

/** List all files to download, and offer the report. */
export function listFiles(files) {
  const rows = files.all.map(({ name, href, size_bytes: length }) =>
    element("li", {}, [link(name, href), element("span", { className: "hint" }, [size(length)])]),
  );
  byId("files").replaceChildren(...rows);
  if (!files.has(NAMES.report)) return;
  const report = byId("report");
  report.href = files.paths.get(NAMES.report);
  report.target = "_blank";
  report.hidden = false;
  fetchWithKey(report, NAMES.report);
}

function link(name, href) {
  const made = element("a", { href, download: name }, [name]);
  fetchWithKey(made, name);
  return made;
}

/** A link sends no key: where one is needed, fetch the file and hand it over. */
function fetchWithKey(anchor, name) {
  anchor.addEventListener("click", async (event) => {
    if (!apiKey()) return;
    event.preventDefault();
    const response = await request(anchor.getAttribute("href"));
    const address = URL.createObjectURL(await response.blob());
    element("a", { href: address, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  });
}
