// SPDX-License-Identifier: Apache-2.0
import { isNotFound } from "../../../../lib/kube-errors.ts";
import { type Informer, objectKey } from "../../../../lib/kube-informer.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import type { Controller } from "./controllers.ts";
import { Expectations } from "./expectations.ts";
import {
  countPods,
  formatIndexes,
  freeIndexes,
  indexAnnotation,
  isIndexed,
  isJobDone,
  type JobCounts,
  jobBackoffMs,
  jobFailure,
  wantedActive,
} from "./job-counts.ts";
import { followOwnedPods } from "./owned-pods.ts";
import { claimOwned, controllerReference } from "./ownership.ts";
import { type Condition, findCondition, isPodActive, sortForDeletion } from "./pod-state.ts";
import { podFromTemplate } from "./pod-template.ts";
import { PodWrites } from "./pod-writes.ts";
import { pathOf, resources } from "./resources.ts";
import { apiTime, withCondition, writeStatus } from "./status-write.ts";

/** Whether a Job has ended, one way or the other. */
export function isJobFinished(job: KubeObject): boolean {
  return ["Complete", "Failed"].some((type) => findCondition(job, type)?.status === "True");
}

/** Runs each Job's pods until enough have succeeded or too many failed. */
export class Jobs {
  readonly #controller: Controller;
  readonly #jobs: Informer;
  readonly #pods: Informer;
  readonly #expectations = new Expectations();
  readonly #writes: PodWrites;

  constructor(controller: Controller) {
    this.#controller = controller;
    this.#jobs = controller.informer(resources.jobs);
    this.#pods = controller.informer(resources.pods);
    this.#writes = new PodWrites(controller, this.#expectations);
    const queue = controller.queue((key) => this.#reconcile(key));
    this.#jobs.onChange(({ object }) => queue.add(objectKey(object)));
    followOwnedPods(this.#pods, this.#jobs, "Job", queue, this.#expectations);
  }

  async #reconcile(key: string): Promise<number | undefined> {
    const job = this.#jobs.get(key);
    if (job === undefined) {
      this.#expectations.forget(key);
      return undefined;
    }
    if (job.metadata.deletionTimestamp !== undefined || isJobFinished(job)) return undefined;
    const pods = await claimOwned(
      {
        client: this.#controller.client,
        owner: job,
        ownerResource: resources.jobs,
        resource: resources.pods,
        adoptable: isPodActive,
      },
      this.#pods.list(),
    );
    if (!job.spec.suspend && job.status?.startTime === undefined) {
      const status = { ...job.status, startTime: apiTime() };
      await writeStatus(this.#controller.client, resources.jobs, job, status);
      return undefined;
    }
    const counts = countPods(job, pods);
    const conditions = await this.#judge(key, job, counts);
    let againMs: number | undefined;
    if (conditions === undefined && this.#expectations.satisfied(key))
      againMs = await this.#manage(key, job, pods, counts);
    await this.#writeCounts(job, counts, conditions ?? job.status?.conditions);
    const deadlineMs =
      job.spec.activeDeadlineSeconds === undefined
        ? undefined
        : Math.max(
            100,
            Date.parse(job.status?.startTime ?? "") + job.spec.activeDeadlineSeconds * 1_000 - Date.now(),
          );
    if (againMs === undefined || deadlineMs === undefined) return againMs ?? deadlineMs;
    return Math.min(againMs, deadlineMs);
  }

  /** The conditions of a Job that ends or is suspended, after stopping its pods; undefined when it goes on. */
  async #judge(key: string, job: KubeObject, counts: JobCounts): Promise<Condition[] | undefined> {
    const present: Condition[] | undefined = job.status?.conditions;
    const targeted = findCondition(job, "FailureTarget");
    const failure = targeted === undefined ? jobFailure(job, counts, Date.now()) : targeted;
    if (failure !== undefined || isJobDone(job, counts)) {
      await this.#writes.deleteAll(job, key, counts.active);
      const stillRunning = counts.active.length + counts.terminating > 0;
      const { reason = "", message = "" } = failure ?? {
        reason: "CompletionsReached",
        message: "Reached expected number of succeeded pods",
      };
      const [target, end] =
        failure === undefined ? ["SuccessCriteriaMet", "Complete"] : ["FailureTarget", "Failed"];
      const conditions = withCondition(present, { type: target, status: "True", reason, message });
      if (stillRunning) return conditions;
      if (failure === undefined) this.#controller.events.normal(job, "Completed", "Job completed");
      else this.#controller.events.warning(job, reason, message);
      return withCondition(conditions, { type: end, status: "True", reason, message });
    }
    if (job.spec.suspend) {
      await this.#writes.deleteAll(job, key, counts.active);
      return withCondition(present, {
        type: "Suspended",
        status: "True",
        reason: "JobSuspended",
        message: "Job suspended",
      });
    }
    return undefined;
  }

  async #manage(
    key: string,
    job: KubeObject,
    pods: KubeObject[],
    counts: JobCounts,
  ): Promise<number | undefined> {
    const missing = wantedActive(job, counts) - counts.active.length;
    if (missing < 0)
      await this.#writes.deleteAll(job, key, sortForDeletion(counts.active).slice(0, -missing));
    if (missing <= 0) return undefined;
    const waitMs = jobBackoffMs(pods, counts.failed, Date.now());
    if (waitMs > 0) return waitMs;
    const made = isIndexed(job)
      ? freeIndexes(job, counts, missing).map((index) => jobPod(job, index))
      : Array.from({ length: missing }, () => jobPod(job, undefined));
    await this.#writes.createAll(job, key, made);
    return undefined;
  }

  async #writeCounts(job: KubeObject, counts: JobCounts, conditions: Condition[] | undefined): Promise<void> {
    const isEnded = conditions?.some(
      ({ type, status }) => (type === "Complete" || type === "Failed") && status === "True",
    );
    const isComplete = conditions?.some(({ type, status }) => type === "Complete" && status === "True");
    const resumed =
      !job.spec.suspend && findCondition(job, "Suspended")?.status === "True"
        ? withCondition(conditions, {
            type: "Suspended",
            status: "False",
            reason: "JobResumed",
            message: "Job resumed",
          })
        : conditions;
    const status: any = {
      ...job.status,
      active: isEnded ? 0 : counts.active.length,
      ready: isEnded ? 0 : counts.ready,
      terminating: isEnded ? 0 : counts.terminating,
      succeeded: counts.succeeded,
      failed: counts.failed,
      uncountedTerminatedPods: {},
      conditions: resumed,
      ...(isIndexed(job) ? { completedIndexes: formatIndexes(counts.completedIndexes) } : {}),
      ...(isComplete ? { completionTime: job.status?.completionTime ?? apiTime() } : {}),
    };
    for (const field of ["active", "succeeded", "failed", "completedIndexes", "conditions"])
      if (status[field] === 0 || status[field] === "" || status[field] === undefined) delete status[field];
    await writeStatus(this.#controller.client, resources.jobs, job, status);
  }
}

function jobPod(job: KubeObject, index: number | undefined): KubeObject {
  const name = job.metadata.name!;
  const indexed =
    index === undefined
      ? {}
      : { annotations: { [indexAnnotation]: `${index}` }, labels: { [indexAnnotation]: `${index}` } };
  const pod = podFromTemplate(job.spec.template, {
    generateName: index === undefined ? `${name}-` : `${name}-${index}-`,
    ownerReferences: [controllerReference(job, resources.jobs)],
    ...indexed,
  });
  if (index === undefined) return pod;
  pod.spec.hostname = `${name}-${index}`;
  const fieldPath = `metadata.annotations['${indexAnnotation}']`;
  for (const container of [...pod.spec.containers, ...(pod.spec.initContainers ?? [])])
    container.env = [
      ...(container.env ?? []).filter((entry: any) => entry.name !== "JOB_COMPLETION_INDEX"),
      { name: "JOB_COMPLETION_INDEX", valueFrom: { fieldRef: { apiVersion: "v1", fieldPath } } },
    ];
  return pod;
}

/** Deletes Jobs that ended longer ago than they ask to be kept. */
export function ttlAfterFinished(controller: Controller): void {
  const jobs = controller.informer(resources.jobs);
  const queue = controller.queue(async (key) => {
    const job = jobs.get(key);
    if (job?.spec.ttlSecondsAfterFinished === undefined || !isJobFinished(job)) return undefined;
    const end = findCondition(job, "Complete") ?? findCondition(job, "Failed");
    const leftMs =
      Date.parse(end?.lastTransitionTime ?? "") + job.spec.ttlSecondsAfterFinished * 1_000 - Date.now();
    if (leftMs > 0) return leftMs;
    const { namespace, name, uid } = job.metadata;
    await controller.client
      .delete(pathOf(resources.jobs, namespace, name), {
        apiVersion: "v1",
        kind: "DeleteOptions",
        propagationPolicy: "Foreground",
        preconditions: { uid },
      })
      .catch((error) => {
        if (!isNotFound(error)) throw error;
      });
    return undefined;
  });
  jobs.onChange(({ type, object }) => {
    if (type !== "deleted") queue.add(objectKey(object));
  });
}
