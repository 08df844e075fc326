// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../resource.ts";
import { setDefaults, setNonEmpty } from "./object.ts";

/** What every pod spec gets, alone or in a template. */
export function defaultPodSpec(spec: KubeObject | undefined): void {
  if (!spec) return;
  setNonEmpty(spec, {
    dnsPolicy: "ClusterFirst",
    restartPolicy: "Always",
    schedulerName: "default-scheduler",
  });
  setDefaults(spec, { terminationGracePeriodSeconds: 30, securityContext: {} });
  // The deprecated name is kept in step with the current one.
  if (spec.serviceAccountName === undefined && spec.serviceAccount)
    spec.serviceAccountName = spec.serviceAccount;
  if (spec.serviceAccountName) spec.serviceAccount = spec.serviceAccountName;
  for (const field of ["hostNetwork", "hostPID", "hostIPC"]) if (spec[field] === false) delete spec[field];
  for (const volume of asArray(spec.volumes)) defaultVolume(volume);
  for (const container of asArray(spec.initContainers)) defaultContainer(container, spec);
  for (const container of asArray(spec.containers)) defaultContainer(container, spec);
  for (const container of asArray(spec.ephemeralContainers)) defaultContainer(container, spec);
  for (const constraint of asArray(spec.topologySpreadConstraints)) {
    setDefaults(constraint, { nodeAffinityPolicy: undefined });
    if (constraint.nodeAffinityPolicy === undefined) delete constraint.nodeAffinityPolicy;
  }
}

/** What a pod of its own gets besides. */
export function defaultPod(pod: KubeObject): void {
  syncAddresses(pod.status);
  if (!pod.spec) return;
  defaultPodSpec(pod.spec);
  setDefaults(pod.spec, { enableServiceLinks: true });
  for (const container of [...asArray(pod.spec.containers), ...asArray(pod.spec.initContainers)]) {
    defaultRequests(container.resources);
  }
}

// The old field of one address is the first of the new list.
function syncAddresses(status: KubeObject | undefined): void {
  if (!status) return;
  if (status.podIP && !status.podIPs?.length) status.podIPs = [{ ip: status.podIP }];
  if (status.podIPs?.length) status.podIP = status.podIPs[0].ip;
}

// A limit without a request is also the request.
function defaultRequests(resources: KubeObject | undefined): void {
  if (!resources?.limits) return;
  resources.requests ??= {};
  setDefaults(resources.requests, resources.limits);
}

function defaultContainer(container: KubeObject, spec: KubeObject): void {
  setDefaults(container, { resources: {} });
  setNonEmpty(container, {
    terminationMessagePath: "/dev/termination-log",
    terminationMessagePolicy: "File",
    imagePullPolicy: pullPolicyFor(container.image),
  });
  for (const port of asArray(container.ports)) {
    setNonEmpty(port, { protocol: "TCP" });
    if (spec.hostNetwork && !port.hostPort && port.containerPort) port.hostPort = port.containerPort;
  }
  for (const probe of ["livenessProbe", "readinessProbe", "startupProbe"]) defaultProbe(container[probe]);
  for (const hook of ["postStart", "preStop"]) defaultHttpGet(container.lifecycle?.[hook]?.httpGet);
  for (const variable of asArray(container.env)) {
    setNonEmpty(variable.valueFrom?.fieldRef, { apiVersion: "v1" });
    setDefaults(variable.valueFrom?.resourceFieldRef, { divisor: "0" });
    if (variable.value === "") delete variable.value;
  }
  for (const mount of asArray(container.volumeMounts)) {
    if (mount.readOnly === false) delete mount.readOnly;
  }
}

function pullPolicyFor(image: unknown): string {
  const text = String(image ?? "");
  if (text.includes("@")) return "IfNotPresent";
  const tag = /:([^/:]+)$/.exec(text)?.[1] ?? "latest";
  return tag === "latest" ? "Always" : "IfNotPresent";
}

function defaultProbe(probe: KubeObject | undefined): void {
  if (!probe) return;
  for (const field of ["timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]) {
    if (probe[field] === 0) delete probe[field];
  }
  if (probe.initialDelaySeconds === 0) delete probe.initialDelaySeconds;
  setDefaults(probe, { timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3 });
  defaultHttpGet(probe.httpGet);
  setDefaults(probe.grpc, { service: "" });
}

function defaultHttpGet(action: KubeObject | undefined): void {
  setNonEmpty(action, { path: "/", scheme: "HTTP" });
}

const MODE_0644 = 0o644;

function defaultVolume(volume: KubeObject): void {
  const sources = Object.keys(volume).filter((key) => key !== "name" && volume[key] !== undefined);
  if (sources.length === 0) volume.emptyDir = {};
  for (const source of ["secret", "configMap", "downwardAPI", "projected"]) {
    setDefaults(volume[source], { defaultMode: MODE_0644 });
  }
  setDefaults(volume.hostPath, { type: "" });
  for (const item of asArray(volume.downwardAPI?.items)) setNonEmpty(item.fieldRef, { apiVersion: "v1" });
  for (const source of asArray(volume.projected?.sources)) {
    setDefaults(source.serviceAccountToken, { expirationSeconds: 3600 });
    for (const item of asArray(source.downwardAPI?.items)) setNonEmpty(item.fieldRef, { apiVersion: "v1" });
  }
  const claim = volume.ephemeral?.volumeClaimTemplate?.spec;
  setDefaults(claim, { volumeMode: "Filesystem" });
  if (volume.iscsi) setDefaults(volume.iscsi, { iscsiInterface: "default" });
}

function asArray(value: unknown): KubeObject[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === "object" && item !== null) : [];
}
