/** The form at `/`: send a pair of scans, then go to the job's page. */

import { problemFrom, read } from "./api.js";
import { byId, element, number, showProblem } from "./dom.js";
import { askForKey, authorization, offerKey } from "./key.js";
import { standing } from "./progress.js";

const form = byId("form");

offerKey(byId("key-button"));
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  byId("problem").hidden = true;
  busy(true);
  try {
    const job = await send(filled());
    location.assign(`${job.links.job}/view`);
  } catch (problem) {
    showProblem(byId("problem"), problem);
    busy(false);
  }
});
listJobs();

/** The form as the API takes it. */
function filled() {
  const options = {
    input_state: byId("input-state").value,
    minimum_lesion_mm3: byId("minimum").valueAsNumber,
    label: byId("label").value.trim(),
    ignore_quality_failures: byId("ignore-quality").checked,
    robustness: byId("robustness").checked,
  };
  const body = new FormData();
  // Names of files may name patients: they stay here.
  body.append("t1w", byId("t1w").files[0], "t1w");
  body.append("flair", byId("flair").files[0], "flair");
  body.append("options", JSON.stringify(options));
  body.append("scan_date", byId("scan-date").value);
  return body;
}

/** Post the form, showing how much has gone; `fetch` cannot tell. */
async function send(body) {
  for (;;) {
    const answer = await post(body);
    if (answer.status === 202) return JSON.parse(answer.text);
    const problem = problemFrom(answer.status, answer.text);
    if (answer.status !== 401) throw problem;
    await askForKey(problem.message);
  }
}

function post(body) {
  const call = new XMLHttpRequest();
  call.open("POST", "/v1/jobs");
  for (const [name, value] of Object.entries(authorization())) call.setRequestHeader(name, value);
  call.upload.addEventListener("progress", ({ loaded, total }) => {
    byId("sent").value = loaded / total;
    byId("sent-text").value = `${number((100 * loaded) / total)} %`;
  });
  return new Promise((resolve, reject) => {
    call.addEventListener("load", () => resolve({ status: call.status, text: call.responseText }));
    call.addEventListener("error", () =>
      reject(new Error("The connection broke: is the service running, are the files too large?")),
    );
    call.send(body);
  });
}

function busy(now) {
  byId("submit").disabled = now;
  byId("sending").hidden = !now;
}

/** Show the newest jobs; a service that will not tell has none to show. */
async function listJobs() {
  const { jobs } = await read("/v1/jobs?limit=10");
  byId("recent").hidden = jobs.length === 0;
  byId("jobs").replaceChildren(...jobs.map(row));
}

function row(job) {
  const link = element("a", { href: `${job.links.job}/view` }, [job.options.label || "unlabelled"]);
  const created = new Date(job.created).toLocaleString();
  const lesions = job.totals ? number(job.totals.lesion_count) : "";
  return element("tr", {}, [
    element("td", {}, [created]),
    element("td", {}, [link]),
    element("td", {}, [standing(job)]),
    element("td", { className: "number" }, [lesions]),
  ]);
}
