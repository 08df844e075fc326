// SPDX-License-Identifier: Apache-2.0
import type { BuiltinKind } from "../builtin-table.ts";
import { refuse } from "../field-errors.ts";
import type { KubeObject, PrepareContext, UserInfo } from "../resource.ts";

const NODE_PREFIX = "system:node:";
const FORBIDDEN_LABEL = /^node-restriction\.kubernetes\.io\//;

/** The node a kubelet's credentials stand for, if they are a kubelet's. */
export function nodeOf(user: UserInfo): string | undefined {
  if (!user.groups.includes("system:nodes") || !user.username.startsWith(NODE_PREFIX)) return undefined;
  return user.username.slice(NODE_PREFIX.length);
}

/** Keeps a kubelet to its own Node object and to its own pods. */
export function restrictNode(row: BuiltinKind, ctx: PrepareContext): void {
  const node = nodeOf(ctx.user);
  if (node === undefined || row.group !== "") return;
  if (row.kind === "Node") restrictNodeObject(node, ctx);
  if (row.kind === "Pod") restrictPod(node, ctx);
}

function restrictNodeObject(node: string, { object, previous, operation }: PrepareContext): void {
  const { name } = object.metadata;
  if (name !== node)
    throw refuse("nodes", "", name, `node "${node}" is not allowed to modify node "${name}"`);
  const changed = Object.keys({ ...object.metadata.labels, ...previous?.metadata.labels }).filter(
    (key) => FORBIDDEN_LABEL.test(key) && object.metadata.labels?.[key] !== previous?.metadata.labels?.[key],
  );
  if (operation !== "delete" && changed.length) {
    throw refuse("nodes", "", name, `is not allowed to modify labels: ${changed.sort().join(", ")}`);
  }
}

function restrictPod(node: string, { object, operation }: PrepareContext): void {
  const { name = "" } = object.metadata;
  const own = object.spec?.nodeName === node;
  if (operation === "create") {
    restrictMirror(node, object);
    return;
  }
  if (!own && operation === "delete") {
    throw refuse("pods", "", name, `node "${node}" can only delete pods with spec.nodeName set to itself`);
  }
  if (!own && operation === "status") {
    throw refuse(
      "pods",
      "",
      name,
      `node "${node}" can only update pod status for pods with spec.nodeName set to itself`,
    );
  }
}

function restrictMirror(node: string, pod: KubeObject): void {
  const { name = "", annotations } = pod.metadata;
  if (annotations?.["kubernetes.io/config.mirror"] === undefined) {
    throw refuse(
      "pods",
      "",
      name,
      `pod does not have "kubernetes.io/config.mirror" annotation, node "${node}" can only create mirror pods`,
    );
  }
  if (pod.spec?.nodeName !== node) {
    throw refuse("pods", "", name, `node "${node}" can only create pods with spec.nodeName set to itself`);
  }
}
