// SPDX-License-Identifier: Apache-2.0
import { addressFamily, type Family } from "../../../../lib/addresses.ts";
import { errorMessage } from "../../../../lib/errors.ts";
import type { KubeClient } from "../../../../lib/kube.ts";
import { Informer } from "../../../../lib/kube-informer.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import type { Logger } from "../../../../lib/log.ts";

/** What the daemon of a pod network has to work with. */
export interface DaemonContext {
  kube: KubeClient;
  nodeName: string;
  env: Record<string, string | undefined>;
  log: Logger;
  signal: AbortSignal;
}

/** What pod networks know of a node. */
export interface NodeFacts {
  name: string;
  addresses: string[];
  podCidrs: string[];
  annotations: Record<string, string>;
}

/** Reads these facts from a Node. */
export function nodeFacts(node: KubeObject): NodeFacts {
  const addresses = (node.status?.addresses ?? []) as { type: string; address: string }[];
  return {
    name: node.metadata.name ?? "",
    addresses: addresses.filter(({ type }) => type === "InternalIP").map(({ address }) => address),
    podCidrs: node.spec?.podCIDRs ?? [],
    annotations: node.metadata.annotations ?? {},
  };
}

/** The first of addresses or CIDRs that is of this family. */
export function ofFamily(texts: readonly string[], family: Family): string | undefined {
  return texts.find((text) => addressFamily(text.split("/")[0]!) === family);
}

/** Families of a node's pod CIDRs. */
export function podFamilies(node: NodeFacts): Family[] {
  return (["ipv4", "ipv6"] as const).filter((family) => ofFamily(node.podCidrs, family) !== undefined);
}

export interface Sync {
  /** Brings the node in line with what is known of all nodes. */
  nodes(self: NodeFacts, others: NodeFacts[]): Promise<void>;
  /** Called every few seconds: what others may have undone. */
  upkeep(): Promise<void>;
}

const retryMs = 1_000;

/**
 * Follows the cluster's nodes until the signal aborts; what `sync` throws is logged and tried again. A change that
 * concerns no pod network (a heartbeat) is none.
 */
export async function followNodes(context: DaemonContext, sync: Sync, upkeepMs: number): Promise<void> {
  const { kube, nodeName, log, signal } = context;
  const informer = new Informer(kube, "/api/v1/nodes", log);
  let wake = () => {};
  informer.onChange(() => wake());
  void informer.run(signal);
  await informer.whenSynced(signal);
  let known = "";
  while (!signal.aborted) {
    const changed = new Promise<void>((resolve) => {
      wake = resolve;
    });
    const nodes = informer.list().map(nodeFacts);
    const self = nodes.find(({ name }) => name === nodeName);
    const state = JSON.stringify(nodes);
    let waitMs = upkeepMs;
    try {
      if (self !== undefined && self.podCidrs.length > 0) {
        if (state !== known)
          await sync.nodes(
            self,
            nodes.filter((node) => node !== self && node.podCidrs.length > 0),
          );
        await sync.upkeep();
      }
      known = state;
    } catch (error) {
      log.error("cannot configure this node", { error: errorMessage(error) });
      waitMs = retryMs;
      known = "";
    }
    await wakeUp(changed, waitMs, signal);
  }
}

/** Resolves when the first of these happens: the promise settles, the time passes, the signal aborts. */
async function wakeUp(changed: Promise<void>, waitMs: number, signal: AbortSignal): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, waitMs);
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
    signal.addEventListener("abort", done, { once: true });
    void changed.then(done);
  });
}
