// SPDX-License-Identifier: Apache-2.0
import type { BuiltinKind } from "../builtin-table.ts";
import { type PrepareContext, Refusal, type Resource } from "../resource.ts";

const IMMORTAL = ["default", "kube-system", "kube-public"];

/** Refuses objects in namespaces that do not exist or are going, and the end of the first three. */
export function checkNamespaceLifecycle(
  kind: Pick<BuiltinKind | Resource, "group" | "kind" | "plural" | "namespaced">,
  ctx: PrepareContext,
): void {
  const { object, operation, store } = ctx;
  const { name, namespace } = object.metadata;
  if (kind.group === "" && kind.kind === "Namespace" && operation === "delete" && IMMORTAL.includes(name)) {
    throw new Refusal(
      403,
      "Forbidden",
      `namespaces "${name}" is forbidden: this namespace may not be deleted`,
    );
  }
  if (!kind.namespaced || !namespace || operation !== "create" || kind.plural === "localsubjectaccessreviews")
    return;
  const found = store.get("", "namespaces", undefined, namespace);
  if (!found) throw new Refusal(404, "NotFound", `namespaces "${namespace}" not found`);
  if (!found.metadata.deletionTimestamp && found.status?.phase !== "Terminating") return;
  const qualified = kind.group ? `${kind.plural}.${kind.group}` : kind.plural;
  throw new Refusal(
    403,
    "Forbidden",
    `${qualified} "${name ?? ""}" is forbidden: unable to create new content in namespace ${namespace} because it is being terminated`,
    [
      {
        field: "metadata.namespace",
        reason: "NamespaceTerminating",
        message: `namespace ${namespace} is being terminated`,
      },
    ],
  );
}
