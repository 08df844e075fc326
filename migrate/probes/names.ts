// SPDX-License-Identifier: Apache-2.0

/** Names of what the probes make in the cluster. */
export const probeNamespace = "shunt-probe";
export const probeName = "shunt-probe";
export const headlessName = "shunt-probe-pods";
export const probeSelector = "app.kubernetes.io/name=shunt-probe";
/** Where the results are kept once the probes are gone: a ConfigMap in kube-system. */
export const resultsConfigMap = "shunt-probe-results";
