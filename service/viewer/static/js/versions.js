/** A case's versions: the networks' own result, and what readers made of it. */

import { read, request } from "./api.js";
import { byId, element, showProblem } from "./dom.js";

/** The results of the version that the page's address names, or of the newest one. */
export async function readVersion(path) {
  const own = await read(path);
  const versions = own.versions ?? [];
  const named = Number(new URLSearchParams(location.search).get("version"));
  const wanted = versions.find(({ version }) => version === named) ?? versions.at(-1);
  return wanted === undefined || wanted.version === own.version ? own : read(wanted.links.results);
}

/** Say which version is shown, and offer the others. */
export function offerVersions({ version, versions = [] }) {
  if (versions.length < 2) return;
  const select = byId("version");
  select.replaceChildren(...versions.map((each) => element("option", { value: String(each.version) }, [name(each)])));
  select.value = String(version);
  select.addEventListener("change", () => {
    location.search = `?version=${select.value}`;
  });
  byId("version-choice").hidden = false;
}

function name({ version, correction }) {
  if (!correction) return `${version}: the networks\u2019 own`;
  const author = correction.author ? ` by ${correction.author}` : "";
  return `${version}: corrected${author}, ${new Date(correction.created).toLocaleDateString()}`;
}

/** Take an edited mask, where the service does. */
export function offerCorrection(path) {
  if (!path) return;
  byId("correction").hidden = false;
  byId("correction-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    busy(true);
    try {
      const made = await (await request(path, { method: "POST", body: filled() })).json();
      location.assign(made.links.view);
    } catch (problem) {
      showProblem(byId("correction-problem"), problem);
      busy(false);
    }
  });
}

function filled() {
  const body = new FormData();
  // The file's name may name a patient: it stays here.
  body.append("mask", byId("edited").files[0], "mask");
  body.append("author", byId("author").value.trim());
  body.append("note", byId("note").value.trim());
  return body;
}

function busy(now) {
  byId("correct").disabled = now;
  byId("correcting").hidden = !now;
  if (now) byId("correction-problem").hidden = true;
}
