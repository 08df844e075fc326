// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import type { DnsConfig, NamespaceOption, SandboxConfig, SecurityProfile } from "./cri-messages.ts";
import {
  allContainers,
  isHostNetwork,
  mainContainers,
  type Pod,
  podCgroup,
  podHostname,
  podUid,
} from "./pod.ts";
import { POD_NAME_LABEL, POD_NAMESPACE_LABEL, POD_UID_LABEL } from "./pod-runtime.ts";

/** Labels by which a pod's sandbox and containers are found again in the runtime. */
export function podLabels(pod: Pod): Record<string, string> {
  return {
    [POD_NAME_LABEL]: pod.metadata.name ?? "",
    [POD_NAMESPACE_LABEL]: pod.metadata.namespace ?? "",
    [POD_UID_LABEL]: podUid(pod),
  };
}

/** Folder of a pod's container logs, as log collectors expect it. */
export function podLogFolder(logsDir: string, pod: Pod): string {
  return join(logsDir, `${pod.metadata.namespace}_${pod.metadata.name}_${podUid(pod)}`);
}

/** Which namespaces the pod's containers share with each other or the node. */
export function namespaceOptions(pod: Pod): NamespaceOption {
  return {
    network: isHostNetwork(pod) ? "NODE" : "POD",
    pid: pod.spec.hostPID === true ? "NODE" : pod.spec.shareProcessNamespace === true ? "POD" : "CONTAINER",
    ipc: pod.spec.hostIPC === true ? "NODE" : "POD",
  };
}

/** The seccomp profile a securityContext asks for; a profile file is looked up below `profilesDir`. */
export function seccompProfile(profile: any, privileged: boolean, profilesDir: string): SecurityProfile {
  if (privileged || profile === undefined || profile.type === "Unconfined")
    return { profile_type: "Unconfined" };
  if (profile.type === "Localhost")
    return { profile_type: "Localhost", localhost_ref: join(profilesDir, profile.localhostProfile ?? "") };
  return { profile_type: "RuntimeDefault" };
}

/** Groups that every process of the pod is in, besides its own. */
export function supplementalGroups(pod: Pod): number[] {
  const security = pod.spec.securityContext ?? {};
  return [...new Set<number>([security.fsGroup, ...(security.supplementalGroups ?? [])])].filter(
    (group) => group !== undefined,
  );
}

const isPrivileged = (container: any): boolean => container.securityContext?.privileged === true;

/** What the runtime is told to make a pod's sandbox. */
export function sandboxConfig(
  pod: Pod,
  node: { name: string; logsDir: string; profilesDir: string; clusterDomain: string },
  dns: DnsConfig,
  attempt: number,
): SandboxConfig {
  const security = pod.spec.securityContext ?? {};
  const privileged = allContainers(pod).some(isPrivileged);
  let hostname = podHostname(pod, node.name);
  if (pod.spec.setHostnameAsFQDN === true && pod.spec.subdomain !== undefined)
    hostname = `${hostname}.${pod.spec.subdomain}.${pod.metadata.namespace}.svc.${node.clusterDomain}`;
  return {
    metadata: {
      name: pod.metadata.name ?? "",
      namespace: pod.metadata.namespace ?? "",
      uid: podUid(pod),
      attempt,
    },
    // A pod in the host's namespaces has the host's name; the runtime refuses to set one.
    hostname: isHostNetwork(pod) ? "" : hostname,
    log_directory: podLogFolder(node.logsDir, pod),
    dns_config: dns,
    port_mappings: portMappings(pod),
    labels: { ...pod.metadata.labels, ...podLabels(pod) },
    annotations: { ...pod.metadata.annotations },
    linux: {
      cgroup_parent: podCgroup(pod),
      sysctls: Object.fromEntries((security.sysctls ?? []).map((entry: any) => [entry.name, entry.value])),
      security_context: {
        namespace_options: namespaceOptions(pod),
        ...(security.runAsUser === undefined ? {} : { run_as_user: { value: security.runAsUser } }),
        ...(security.runAsUser === undefined || security.runAsGroup === undefined
          ? {}
          : { run_as_group: { value: security.runAsGroup } }),
        supplemental_groups: supplementalGroups(pod),
        privileged,
        seccomp: seccompProfile(security.seccompProfile, privileged, node.profilesDir),
      },
    },
  };
}

function portMappings(pod: Pod): SandboxConfig["port_mappings"] {
  if (isHostNetwork(pod)) return [];
  const ports = [...mainContainers(pod), ...(pod.spec.initContainers ?? [])].flatMap(
    (container) => container.ports ?? [],
  );
  return ports
    .filter((port) => (port.hostPort ?? 0) > 0)
    .map((port) => ({
      protocol: port.protocol ?? "TCP",
      container_port: port.containerPort,
      host_port: port.hostPort,
      host_ip: port.hostIP ?? "",
    }));
}
