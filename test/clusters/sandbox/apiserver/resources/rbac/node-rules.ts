// SPDX-License-Identifier: Apache-2.0
import { allow, EVENTS, READ } from "./rule-text.ts";
import type { PolicyRule } from "./rules.ts";

/** The fixed part of what a kubelet may do. */
export const NODE_RULES: readonly PolicyRule[] = [
  allow("create", "authentication.k8s.io", "tokenreviews"),
  allow("create", "authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews"),
  allow(READ, "", "services"),
  allow("create get list watch", "", "nodes"),
  allow("patch update", "", "nodes/status nodes"),
  ...EVENTS,
  allow(READ, "", "pods"),
  allow("create delete", "", "pods"),
  allow("patch update", "", "pods/status"),
  allow("create", "", "pods/eviction"),
  allow("get", "", "endpoints persistentvolumes"),
  allow("create get list watch", "certificates.k8s.io", "certificatesigningrequests"),
  allow("get", "storage.k8s.io", "volumeattachments"),
  allow(READ, "storage.k8s.io", "csidrivers"),
  allow("create delete get patch update", "storage.k8s.io", "csinodes"),
  allow(READ, "node.k8s.io", "runtimeclasses"),
];
