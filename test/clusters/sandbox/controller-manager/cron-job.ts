// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../../../../lib/errors.ts";
import { isAlreadyExists } from "../../../../lib/kube-errors.ts";
import { type Informer, objectKey } from "../../../../lib/kube-informer.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import type { Controller } from "./controllers.ts";
import { lastDue, parseSchedule } from "./cron-schedule.ts";
import { byCreation } from "./deployment-math.ts";
import { isJobFinished } from "./job.ts";
import { controllerOf, controllerReference } from "./ownership.ts";
import { findCondition } from "./pod-state.ts";
import { pathOf, resources } from "./resources.ts";
import { apiTime, writeStatus } from "./status-write.ts";

const minuteMs = 60_000;

/** Makes a Job whenever a CronJob is due, and keeps as many old ones as it asks for. */
export class CronJobs {
  readonly #controller: Controller;
  readonly #crons: Informer;
  readonly #jobs: Informer;

  constructor(controller: Controller) {
    this.#controller = controller;
    this.#crons = controller.informer(resources.cronJobs);
    this.#jobs = controller.informer(resources.jobs);
    const queue = controller.queue((key) => this.#reconcile(key));
    this.#crons.onChange(({ object }) => queue.add(objectKey(object)));
    this.#jobs.onChange(({ object }) => {
      const owner = controllerOf(object);
      if (owner?.kind === "CronJob") queue.add(`${object.metadata.namespace}/${owner.name}`);
    });
  }

  async #reconcile(key: string): Promise<number | undefined> {
    const cron = this.#crons.get(key);
    if (cron === undefined || cron.metadata.deletionTimestamp !== undefined) return undefined;
    const owned = this.#jobs.list().filter((job) => controllerOf(job)?.uid === cron.metadata.uid);
    await this.#removeOld(cron, owned);
    const active = owned.filter((job) => !isJobFinished(job));
    const started = cron.spec.suspend ? undefined : await this.#startIfDue(cron, active);
    if (started !== undefined) active.push(started.job);
    const successes = owned
      .filter((job) => findCondition(job, "Complete")?.status === "True")
      .map((job) => job.status.completionTime as string)
      .sort();
    await writeStatus(this.#controller.client, resources.cronJobs, cron, {
      ...cron.status,
      active: active.length === 0 ? undefined : active.map(reference),
      lastScheduleTime: started?.scheduledAt ?? cron.status?.lastScheduleTime,
      lastSuccessfulTime: successes.at(-1) ?? cron.status?.lastSuccessfulTime,
    });
    return cron.spec.suspend ? undefined : minuteMs - (Date.now() % minuteMs) + 50;
  }

  async #startIfDue(
    cron: KubeObject,
    active: KubeObject[],
  ): Promise<{ job: KubeObject; scheduledAt: string } | undefined> {
    const { client, events } = this.#controller;
    let dueMs: number | undefined;
    try {
      const since = cron.status?.lastScheduleTime ?? cron.metadata.creationTimestamp;
      dueMs = lastDue(
        parseSchedule(cron.spec.schedule, cron.spec.timeZone ?? "UTC"),
        Date.parse(since),
        Date.now(),
      );
    } catch (error) {
      events.warning(cron, "UnparseableSchedule", errorMessage(error));
      return undefined;
    }
    if (dueMs === undefined) return undefined;
    const deadline = cron.spec.startingDeadlineSeconds;
    if (deadline !== undefined && Date.now() - dueMs > deadline * 1_000) {
      events.warning(cron, "MissSchedule", `Missed scheduled time to start a job: ${apiTime(dueMs)}`);
      return undefined;
    }
    if (active.length > 0 && cron.spec.concurrencyPolicy === "Forbid") {
      events.normal(cron, "JobAlreadyActive", "Not starting job because prior execution is running");
      return undefined;
    }
    if (cron.spec.concurrencyPolicy === "Replace")
      for (const job of active.splice(0)) await this.#deleteJob(cron, job);
    const made = cronJobOf(cron, dueMs);
    const path = pathOf(resources.jobs, cron.metadata.namespace);
    try {
      const job = await client.create(path, made);
      events.normal(cron, "SuccessfulCreate", `Created job ${job.metadata.name}`);
      return { job, scheduledAt: apiTime(dueMs) };
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      return { job: await client.get(`${path}/${made.metadata.name}`), scheduledAt: apiTime(dueMs) };
    }
  }

  async #removeOld(cron: KubeObject, owned: KubeObject[]): Promise<void> {
    const limits: [string, number][] = [
      ["Complete", cron.spec.successfulJobsHistoryLimit ?? 3],
      ["Failed", cron.spec.failedJobsHistoryLimit ?? 1],
    ];
    for (const [type, limit] of limits) {
      const ended = owned
        .filter((job) => findCondition(job, type)?.status === "True")
        .filter((job) => job.metadata.deletionTimestamp === undefined)
        .sort(byCreation);
      for (const job of ended.slice(0, Math.max(0, ended.length - limit))) await this.#deleteJob(cron, job);
    }
  }

  async #deleteJob(cron: KubeObject, job: KubeObject): Promise<void> {
    const { namespace, name } = job.metadata;
    const options = { apiVersion: "v1", kind: "DeleteOptions", propagationPolicy: "Background" };
    if (await this.#controller.client.deleteIfExists(pathOf(resources.jobs, namespace, name), options))
      this.#controller.events.normal(cron, "SuccessfulDelete", `Deleted job ${name}`);
  }
}

/** The Job for one due time; its name tells the minute, so that it is made once. */
function cronJobOf(cron: KubeObject, dueMs: number): KubeObject {
  const template = cron.spec.jobTemplate;
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: {
      name: `${cron.metadata.name}-${Math.floor(dueMs / minuteMs)}`,
      namespace: cron.metadata.namespace!,
      labels: template.metadata?.labels,
      annotations: {
        ...template.metadata?.annotations,
        "batch.kubernetes.io/cronjob-scheduled-timestamp": apiTime(dueMs),
      },
      ownerReferences: [controllerReference(cron, resources.cronJobs)],
    },
    spec: structuredClone(template.spec),
  };
}

function reference(job: KubeObject) {
  const { namespace, name, uid, resourceVersion } = job.metadata;
  return { apiVersion: "batch/v1", kind: "Job", namespace, name, uid, resourceVersion };
}
