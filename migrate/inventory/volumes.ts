// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../lib/kube-object.ts";

const nodeKeys = /^kubernetes\.io\/hostname$|\/(node|hostname|node-name|nodename)$/;

/** The claims whose volume is on one node and cannot follow a pod to another, as `namespace/name`. */
export class NodeBoundClaims {
  readonly #claims = new Set<string>();

  /** Looks at a PersistentVolume. */
  add({ spec = {} }: KubeObject): void {
    const claim = spec.claimRef;
    if (claim?.name === undefined || !isNodeBound(spec)) return;
    this.#claims.add(`${claim.namespace}/${claim.name}`);
  }

  has(namespace: string, claim: string): boolean {
    return this.#claims.has(`${namespace}/${claim}`);
  }
}

function isNodeBound(spec: any): boolean {
  if (spec.local !== undefined || spec.hostPath !== undefined) return true;
  const terms: any[] = spec.nodeAffinity?.required?.nodeSelectorTerms ?? [];
  return terms.some((term) =>
    (term.matchExpressions ?? []).some(
      (entry: any) => nodeKeys.test(String(entry.key)) && entry.operator === "In",
    ),
  );
}

/** The claim that a volume of a pod uses: its own name, or that of a generic ephemeral volume. */
export function claimOf(pod: string, volume: any): string | undefined {
  if (volume.persistentVolumeClaim?.claimName !== undefined) return volume.persistentVolumeClaim.claimName;
  return volume.ephemeral === undefined ? undefined : `${pod}-${volume.name}`;
}
