// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";
import { errorMessage, ShuntError } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { isAlreadyExists, isConflict, isNotFound } from "../../lib/kube-errors.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { sleep } from "../../lib/wait.ts";

const apiVersion = "coordination.k8s.io/v1";
const leaseName = "shunt-migration";
const namespace = "kube-system";
const leases = (name?: string): string => resourcePath(apiVersion, "leases", namespace, name);

export interface LeaseOptions {
  identity: string;
  durationSeconds: number;
  renewMs: number;
  signal: AbortSignal;
  /** Called once, when somebody else has it. */
  onLost: (error: ShuntError) => void;
  onWait?: (message: string) => void;
}

/** Where this process runs, so that another one on the same machine can see that it is dead. */
function place(): string {
  const read = (from: () => string): string => {
    try {
      return from();
    } catch {
      return "unknown";
    }
  };
  const boot = read(() => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").slice(0, 8));
  const pids = read(() => readlinkSync("/proc/self/ns/pid").replace(/\D/g, ""));
  return `${hostname()}_${boot}_${pids}`;
}

/** A name for this operator, unique and telling. */
export const operatorIdentity = (): string => `${place()}_${process.pid}_${randomBytes(3).toString("hex")}`;

/** Whether a holder was a process of this machine that is no more. */
function isDeadHere(identity: string): boolean {
  const match = /^(.*)_(\d+)_[0-9a-f]{6}$/.exec(identity);
  if (match === null || match[1] !== place() || match[1].includes("unknown")) return false;
  try {
    process.kill(Number(match[2]), 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}

/** Who holds the lease now; empty when nobody does. */
export async function leaseHolder(kube: KubeClient): Promise<string> {
  const holder = (await kube.find(leases(leaseName)))?.spec?.holderIdentity ?? "";
  return isDeadHere(holder) ? "" : holder;
}

/** Keeps a second operator out. Renewed all the time; taken over when its holder has stopped to renew it. */
export class Lease {
  readonly #kube: KubeClient;
  readonly #options: LeaseOptions;
  #object: KubeObject;
  #renewedAt = performance.now();
  #stopped = false;
  #lost: ShuntError | undefined;
  #loop: Promise<void>;
  readonly #wake = new AbortController();

  private constructor(kube: KubeClient, object: KubeObject, options: LeaseOptions) {
    this.#kube = kube;
    this.#object = object;
    this.#options = options;
    this.#loop = this.#renewAlways();
  }

  /** Takes the lease, or throws `Held` when another operator is alive. */
  static async acquire(kube: KubeClient, options: LeaseOptions): Promise<Lease> {
    let seen: string | undefined;
    let seenAt = performance.now();
    for (;;) {
      options.signal.throwIfAborted();
      const current = await kube.find(leases(leaseName));
      const holder = current?.spec?.holderIdentity ?? "";
      const renewed = current === undefined ? "" : `${holder} ${current.spec?.renewTime}`;
      if (holder !== "" && holder !== options.identity && !isDeadHere(holder)) {
        const duration = current?.spec?.leaseDurationSeconds ?? options.durationSeconds;
        if (seen !== undefined && seen !== renewed) throw held(holder);
        if (seen === undefined)
          options.onWait?.(`waiting up to ${duration} s to see whether ${holder} is alive`);
        seen ??= renewed;
        if (performance.now() - seenAt < duration * 1000) {
          await sleep(Math.min(500, options.renewMs), options.signal);
          continue;
        }
      }
      const taken = await take(kube, current, options);
      if (taken !== undefined) return new Lease(kube, taken, options);
      seen = undefined;
      seenAt = performance.now();
    }
  }

  get identity(): string {
    return this.#options.identity;
  }

  /** Returns when the lease is certainly ours; waits while the API server is away. Throws when it is lost. */
  async assertHeld(signal: AbortSignal, deadlineMs: number): Promise<void> {
    const deadline = Date.now() + deadlineMs;
    for (;;) {
      signal.throwIfAborted();
      if (this.#lost !== undefined) throw this.#lost;
      if (Date.now() > deadline)
        throw new ShuntError(
          `The lease ${namespace}/${leaseName} could not be renewed for ${deadlineMs / 1000} s`,
          {
            code: "Unreachable",
            remedy: "When the API server is back: shunt migrate resume",
          },
        );
      if (performance.now() - this.#renewedAt < this.#options.durationSeconds * 1000) return;
      await sleep(100, signal);
    }
  }

  /** Gives it back, so that the next operator need not wait. */
  async release(): Promise<void> {
    this.#stopped = true;
    this.#wake.abort();
    await this.#loop;
    if (this.#lost !== undefined) return;
    // A renewal that was cut off may have arrived all the same: then the object is another one.
    while (!(await this.#giveBack()) && (await this.#isOursAnew()));
  }

  /** Whether no more is to be done: it is given back, or the server is away, and it runs out by itself. */
  async #giveBack(): Promise<boolean> {
    const spec = { ...this.#object.spec, holderIdentity: "" };
    try {
      await this.#kube.request("PUT", leases(leaseName), {
        body: { ...this.#object, spec },
        timeoutMs: 5_000,
      });
      return true;
    } catch (error) {
      return !isConflict(error);
    }
  }

  async #isOursAnew(): Promise<boolean> {
    const current = await this.#kube.find(leases(leaseName), { timeoutMs: 5_000 }).catch(() => undefined);
    if (current === undefined || current.spec?.holderIdentity !== this.#options.identity) return false;
    this.#object = current;
    return true;
  }

  async #renewAlways(): Promise<void> {
    while (!this.#stopped && this.#lost === undefined) {
      await sleep(this.#options.renewMs, this.#wake.signal).catch(() => undefined);
      if (this.#stopped) return;
      await this.#renew().catch(() => undefined);
    }
  }

  /** Somebody deleted it; whoever makes it anew first has it. */
  async #recreate(): Promise<void> {
    const started = performance.now();
    const taken = await take(this.#kube, undefined, this.#options);
    if (taken === undefined) return;
    this.#object = taken;
    this.#renewedAt = started;
  }

  async #renew(): Promise<void> {
    const { identity } = this.#options;
    const started = performance.now();
    const spec = { ...this.#object.spec, renewTime: microTime() };
    const signal = this.#wake.signal;
    try {
      this.#object = await this.#kube.request("PUT", leases(leaseName), {
        body: { ...this.#object, spec },
        timeoutMs: 5_000,
        signal,
      });
      this.#renewedAt = started;
    } catch (error) {
      if (isNotFound(error)) return await this.#recreate();
      if (!isConflict(error)) throw error;
      const current = await this.#kube.find(leases(leaseName), { timeoutMs: 5_000, signal });
      if (current === undefined) return;
      this.#object = current;
      if (current.spec?.holderIdentity === identity) return;
      this.#lost = held(current.spec?.holderIdentity || "somebody");
      this.#options.onLost(this.#lost);
    }
  }
}

const microTime = (): string => new Date().toISOString().replace("Z", "000Z");

async function take(
  kube: KubeClient,
  current: KubeObject | undefined,
  { identity, durationSeconds }: LeaseOptions,
): Promise<KubeObject | undefined> {
  const now = microTime();
  const spec = {
    holderIdentity: identity,
    leaseDurationSeconds: durationSeconds,
    acquireTime: now,
    renewTime: now,
    leaseTransitions: (current?.spec?.leaseTransitions ?? 0) + 1,
  };
  try {
    if (current !== undefined) return await kube.replace(leases(leaseName), { ...current, spec });
    const metadata = { name: leaseName, namespace };
    return await kube.create(leases(), { apiVersion, kind: "Lease", metadata, spec });
  } catch (error) {
    if (isConflict(error) || isAlreadyExists(error)) return undefined;
    throw new ShuntError(`Cannot take the lease ${namespace}/${leaseName}: ${errorMessage(error)}`, {
      cause: error,
      remedy: "The operator needs get, create and update on leases in kube-system.",
    });
  }
}

const held = (holder: string): ShuntError =>
  new ShuntError(`Another operator is at work: ${holder}`, {
    code: "Held",
    exitCode: 3,
    remedy: "Watch it with shunt migrate watch, or stop it with shunt migrate pause.",
  });
