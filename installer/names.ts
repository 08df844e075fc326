// SPDX-License-Identifier: Apache-2.0
import { resourcePath } from "../lib/kube.ts";

/** Names and API paths of everything that an installation makes. */
export const namespace = "kube-system";
export const agentName = "shunt-agent";
export const recordName = "shunt-install";
export const configName = "shunt-config";
export const shuntNodes = "/apis/shunt.dev/v1alpha1/nodes";

export const daemonSet = (name?: string, inNamespace: string = namespace): string =>
  resourcePath("apps/v1", "daemonsets", inNamespace, name);
export const configMap = (name?: string): string => resourcePath("v1", "configmaps", namespace, name);
export const pods = (name?: string): string => resourcePath("v1", "pods", namespace, name);
