// SPDX-License-Identifier: Apache-2.0
import type { PrepareContext } from "../resource.ts";

/** Sets the conditions the naming and establishing controllers would set. */
export function prepareCrd({ object: crd, operation }: PrepareContext): void {
  const { spec } = crd;
  if (!spec?.names || !Array.isArray(spec.versions)) return;
  const stored = spec.versions.find((version: { storage?: boolean }) => version.storage)?.name;
  const before: string[] = crd.status?.storedVersions ?? [];
  const storedVersions = stored && !before.includes(stored) ? [...before, stored] : before;
  crd.status = {
    acceptedNames: structuredClone(spec.names),
    conditions: operation === "create" ? newConditions() : (crd.status?.conditions ?? newConditions()),
    storedVersions,
  };
}

function newConditions(): object[] {
  const lastTransitionTime = `${new Date().toISOString().slice(0, 19)}Z`;
  return [
    {
      lastTransitionTime,
      message: "no conflicts found",
      reason: "NoConflicts",
      status: "True",
      type: "NamesAccepted",
    },
    {
      lastTransitionTime,
      message: "the initial names have been accepted",
      reason: "InitialNamesAccepted",
      status: "True",
      type: "Established",
    },
  ];
}
