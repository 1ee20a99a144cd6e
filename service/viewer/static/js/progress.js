/** Follow a job to its end, and say in words how it stands. */

import { request } from "./api.js";

const STAGES = {
  queued: "Waiting for a worker",
  reading: "Reading the images",
  denoising: "Removing noise",
  brain_extraction: "Finding the brain",
  registration: "Registering to the template",
  bias_correction: "Evening out the intensities",
  normalisation: "Normalising the intensities",
  quality_control: "Checking the quality",
  inference: "Running the networks",
  measurement: "Measuring the lesions",
  reporting: "Writing the report",
  done: "Done",
};
const STATES = {
  accepted: "Waiting for a worker",
  successful: "Done",
  failed: "Failed",
  dismissed: "Cancelled",
};
const RETRY_S = 5;

/** How a job stands, in a few words. */
export function standing(job) {
  if (job.cancel_requested && job.state === "running") return "Stopping";
  if (job.state !== "running") return STATES[job.state] ?? job.state;
  const stage = STAGES[job.stage] ?? job.stage.replaceAll("_", " ");
  const { done, total } = job.progress;
  return total > 1 ? `${stage}: ${done} of ${total}` : stage;
}

/** Read a job until it has ended; `onChange` sees each state, `onSilence` each failure to ask. */
export async function follow(path, { onChange, onSilence }) {
  let job = null;
  let tag = null;
  for (;;) {
    let wait = RETRY_S;
    try {
      const response = await request(path, { headers: tag ? { "If-None-Match": tag } : {} });
      if (response.status !== 304) {
        job = await response.json();
        tag = response.headers.get("ETag");
        onChange(job);
      }
      const again = response.headers.get("Retry-After");
      if (again === null) return job;
      wait = Number(again);
    } catch (problem) {
      // The service may be starting again; what it says itself is final.
      if (problem.status !== undefined && problem.status < 500) throw problem;
      onSilence(problem);
    }
    await new Promise((resolve) => setTimeout(resolve, 1000 * wait));
  }
}
