// SPDX-License-Identifier: Apache-2.0
import type { ObjectProblem } from "./problem-events.ts";
import type { ServiceProblem } from "./service-table.ts";

/** A problem of a group, as one of the object that the group was made of, by the group's key. */
export function eventOfService({ group, message }: ServiceProblem): ObjectProblem {
  const isPod = group.startsWith("pod ");
  const [namespace = "", rest = ""] = (isPod ? group.slice(4) : group).split("/");
  const kind = isPod ? "Pod" : "Service";
  const object = { apiVersion: "v1", kind, namespace, name: rest.split(":")[0] ?? "" };
  return { object, reason: "NotProgrammed", message };
}
