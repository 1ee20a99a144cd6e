/** A job's page: its progress while it runs, then its images and lesions. */

import { request } from "./api.js";
import { Controls } from "./controls.js";
import { byId, cubicMillimetres, hundredths, number, showProblem } from "./dom.js";
import { CaseFiles, listFiles } from "./files.js";
import { useKeyboard } from "./keyboard.js";
import { offerKey } from "./key.js";
import { LesionTable } from "./lesions.js";
import { follow, standing } from "./progress.js";
import { Scene } from "./scene.js";
import { offerCorrection, offerVersions, readVersion } from "./versions.js";

/** What is said of an input that is unlike those the method was tried on. */
const TRUST = { warn: "; unusual input, see the report", fail: "; strange input, see the report" };

const path = location.pathname.replace(/\/view\/?$/, "");

offerKey(byId("key-button"));
byId("cancel").addEventListener("click", () => request(path, { method: "DELETE" }).catch(fail));
try {
  const job = await follow(path, { onChange: showProgress, onSilence: showSilence });
  if (job.state === "successful") await showCase(await readVersion(job.links.results), job.links.corrections);
  else fail(job.error ?? new Error("The job was cancelled; its files are gone."));
} catch (problem) {
  fail(problem);
}

function showProgress(job) {
  showTitle(job.options.label);
  byId("waiting-title").textContent = standing(job);
  byId("fraction").value = job.progress.fraction;
  byId("waiting-text").textContent = waitingText(job);
  byId("cancel").hidden = job.finished !== null || job.cancel_requested;
}

function waitingText(job) {
  const done = `${number(100 * job.progress.fraction)} % done`;
  const again = job.attempts > 1 ? `, attempt ${job.attempts}` : "";
  return `${done}${again}. This page shows the case when it is ready; it may be closed meanwhile.`;
}

function showSilence() {
  byId("waiting-text").textContent = "The service does not answer; asking again.";
}

function showTitle(label) {
  byId("title").textContent = label || "Unlabelled case";
  document.title = `${label || "Unlabelled case"}: DeepLesionBrain`;
}

/** Show a finished case. */
async function showCase(results, corrections) {
  const { report, artefacts } = results;
  const files = new CaseFiles(artefacts);
  showTitle(report.label);
  byId("summary").textContent = summary(report.totals) + (TRUST[report.input_trust?.status] ?? "");
  offerVersions(results);
  offerCorrection(corrections);
  listFiles(files);
  byId("waiting").hidden = true;
  byId("viewer").hidden = false;

  const scene = new Scene(files, { onMove: (point, lesion) => showWhere(point, report.lesions, lesion, table) });
  const table = new LesionTable(report.lesions, (lesion) => scene.goToLesion(lesion));
  await run("Loading the FLAIR …", async () => {
    await scene.open(byId("canvas"));
    await scene.show({});
    useKeyboard(scene, new Controls(scene, run), table);
    table.step(1);
  });
}

function summary(totals) {
  const { lesion_count: count, lesion_volume_ml: volume, lesion_load_percent: load } = totals;
  if (count === 0) return "No lesion found";
  const ml = volume < 1 ? hundredths(volume) : number(volume, 1);
  const whole = typeof totals.intracranial_volume_ml === "number" ? "intracranial volume" : "brain mask";
  return `${number(count)} ${count === 1 ? "lesion" : "lesions"}, ${ml} ml, ${hundredths(load)} % of the ${whole}`;
}

function showWhere(point, lesions, id, table) {
  const place = point.map((value) => number(value, 1)).join(", ");
  const lesion = lesions.find((each) => each.id === id);
  const what = lesion ? `lesion ${id}, ${cubicMillimetres(lesion.volume_mm3)} mm³` : "no lesion here";
  byId("where").textContent = `MNI152 ${place} mm: ${what}`;
  if (lesion) table.mark(id);
}

/** Do what takes time, saying so; show what fails. */
async function run(text, work) {
  byId("busy").textContent = text;
  byId("busy").hidden = false;
  try {
    await work();
  } catch (problem) {
    fail(problem);
  } finally {
    byId("busy").hidden = true;
  }
}

function fail(problem) {
  byId("waiting").hidden = true;
  showProblem(byId("problem"), problem);
}
