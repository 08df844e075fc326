// SPDX-License-Identifier: Apache-2.0
import { hostname } from "node:os";
import { errorMessage } from "../../../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../../../lib/kube.ts";
import { isAlreadyExists, isConflict } from "../../../../lib/kube-errors.ts";
import type { Logger } from "../../../../lib/log.ts";
import { sleep } from "../../../../lib/wait.ts";

const leaseSeconds = 15;
const renewMs = 5_000;

/**
 * Waits until this process holds the named Lease in kube-system, then renews it in the background; when it is
 * lost, `onLost` is called and the process must stop working. An aborted signal gives the Lease back.
 */
export async function holdLease(
  client: KubeClient,
  name: string,
  log: Logger,
  signal: AbortSignal,
  onLost: (reason: string) => void,
): Promise<void> {
  const identity = `${hostname()}_${process.pid}_${Math.random().toString(36).slice(2, 10)}`;
  let seen = { version: "", atMs: Date.now() };
  const attempt = async (): Promise<boolean> => {
    const path = resourcePath("coordination.k8s.io/v1", "leases", "kube-system", name);
    const lease = await client.find(path);
    if (lease === undefined) {
      await client.create(resourcePath("coordination.k8s.io/v1", "leases", "kube-system"), {
        apiVersion: "coordination.k8s.io/v1",
        kind: "Lease",
        metadata: { name, namespace: "kube-system" },
        spec: leaseSpec(identity, undefined),
      });
      return true;
    }
    // Judged by when this process saw it change, not by the other machine's clock.
    const version = lease.metadata.resourceVersion ?? "";
    if (version !== seen.version) seen = { version, atMs: Date.now() };
    const holder = lease.spec?.holderIdentity;
    const isFree =
      !holder || Date.now() - seen.atMs > (lease.spec?.leaseDurationSeconds ?? leaseSeconds) * 1_000;
    if (holder !== identity && !isFree) return false;
    await client.replace(path, { ...lease, spec: leaseSpec(identity, lease.spec) });
    return true;
  };
  while (!(await tryOnce(attempt, log))) await sleep(1_000 + Math.random() * 500, signal);
  log.info("leading", { lease: name, identity });
  void renew(attempt, log, signal, onLost);
  signal.addEventListener("abort", () => void giveBack(client, name, identity), { once: true });
}

function leaseSpec(identity: string, former: any): any {
  const now = new Date().toISOString().replace(/Z$/, "000Z");
  const isSame = former?.holderIdentity === identity;
  return {
    holderIdentity: identity,
    leaseDurationSeconds: leaseSeconds,
    acquireTime: isSame ? former.acquireTime : now,
    renewTime: now,
    leaseTransitions: (former?.leaseTransitions ?? 0) + (isSame || former === undefined ? 0 : 1),
  };
}

/** Undefined when it could not be found out who holds it. */
async function tryOnce(attempt: () => Promise<boolean>, log: Logger): Promise<boolean | undefined> {
  try {
    return await attempt();
  } catch (error) {
    if (!isConflict(error) && !isAlreadyExists(error))
      log.warn("cannot take the lease", { error: errorMessage(error) });
    return undefined;
  }
}

async function renew(
  attempt: () => Promise<boolean>,
  log: Logger,
  signal: AbortSignal,
  onLost: (reason: string) => void,
): Promise<void> {
  while (!signal.aborted) {
    await sleep(renewMs, signal).catch(() => undefined);
    if (signal.aborted) return;
    // While the server is away nobody else can take it either, and nothing can be written.
    if ((await tryOnce(attempt, log)) === false) {
      onLost("somebody else took the lease");
      return;
    }
  }
}

async function giveBack(client: KubeClient, name: string, identity: string): Promise<void> {
  const path = resourcePath("coordination.k8s.io/v1", "leases", "kube-system", name);
  try {
    const lease = await client.find(path);
    if (lease?.spec?.holderIdentity !== identity) return;
    await client.replace(path, {
      ...lease,
      spec: { ...lease.spec, holderIdentity: "", leaseDurationSeconds: 1 },
    });
  } catch {
    // It runs out by itself.
  }
}
