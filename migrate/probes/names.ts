// SPDX-License-Identifier: Apache-2.0

/** Names of what the probes make in the cluster. */
export const probeNamespace = "shunt-probe";
export const probeName = "shunt-probe";
export const headlessName = "shunt-probe-pods";
/** The probes in the nodes' own network. */
export const hostProbeName = "shunt-probe-host";
/** All probe pods. */
export const probeSelector = "app.kubernetes.io/managed-by=shunt";
/** Where in the cluster a probe is: in the pod network, or in its node's own. */
export type ProbeRole = "pod" | "host";
export const nameOf: Record<ProbeRole, string> = { pod: probeName, host: hostProbeName };
/** Where the results are kept once the probes are gone: a ConfigMap in kube-system. */
export const resultsConfigMap = "shunt-probe-results";
