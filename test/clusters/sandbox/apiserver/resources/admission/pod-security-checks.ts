// SPDX-License-Identifier: Apache-2.0
// The checks of the Pod Security Standards, with the words of the real admission plugin.
import type { KubeObject } from "../resource.ts";

/** A check that failed. */
export interface Violation {
  reason: string;
  detail: string;
}

type Check = (pod: KubeObject) => Violation | undefined;

function containersOf(pod: KubeObject): KubeObject[] {
  const { initContainers = [], containers = [], ephemeralContainers = [] } = pod.spec;
  return [...initContainers, ...containers, ...ephemeralContainers];
}

function quote(items: string[]): string {
  return items.map((item) => JSON.stringify(item)).join(", ");
}

function plural(word: string, names: string[]): string {
  return `${word}${names.length > 1 ? "s" : ""} ${quote(names)}`;
}

function failing(pod: KubeObject, bad: (container: KubeObject) => boolean): string[] {
  return containersOf(pod)
    .filter(bad)
    .map((container) => container.name);
}

const hostNamespaces: Check = ({ spec }) => {
  const set = ["hostNetwork", "hostPID", "hostIPC"].filter((field) => spec[field]);
  return set.length
    ? { reason: "host namespaces", detail: set.map((field) => `${field}=true`).join(", ") }
    : undefined;
};

const privileged: Check = (pod) => {
  const names = failing(pod, (container) => container.securityContext?.privileged === true);
  if (!names.length) return undefined;
  return {
    reason: "privileged",
    detail: `${plural("container", names)} must not set securityContext.privileged=true`,
  };
};

const DEFAULT_CAPABILITIES = new Set(
  "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT".split(
    " ",
  ),
);

function addedBeyond(pod: KubeObject, allowed: Set<string>): string | undefined {
  const added = (container: KubeObject): string[] =>
    (container.securityContext?.capabilities?.add ?? []).filter((item: string) => !allowed.has(item));
  const names = failing(pod, (container) => added(container).length > 0);
  if (!names.length) return undefined;
  const extra = [...new Set(containersOf(pod).flatMap(added))].sort();
  return `${plural("container", names)} must not include ${quote(extra)} in securityContext.capabilities.add`;
}

const baselineCapabilities: Check = (pod) => {
  const detail = addedBeyond(pod, DEFAULT_CAPABILITIES);
  return detail ? { reason: "non-default capabilities", detail } : undefined;
};

const hostPathVolumes: Check = ({ spec }) => {
  const names = (spec.volumes ?? [])
    .filter((volume: KubeObject) => volume.hostPath)
    .map((volume: KubeObject) => volume.name);
  return names.length ? { reason: "hostPath volumes", detail: plural("volume", names) } : undefined;
};

const hostPorts: Check = (pod) => {
  const portsOf = (container: KubeObject): number[] =>
    (container.ports ?? []).map((port: KubeObject) => port.hostPort).filter(Boolean);
  const names = failing(pod, (container) => portsOf(container).length > 0);
  if (!names.length) return undefined;
  const ports = [...new Set(containersOf(pod).flatMap(portsOf))].sort((a, b) => a - b);
  const use = names.length > 1 ? "use" : "uses";
  return {
    reason: "hostPort",
    detail: `${plural("container", names)} ${use} hostPort${ports.length > 1 ? "s" : ""} ${ports.join(", ")}`,
  };
};

const procMount: Check = (pod) => {
  const names = failing(
    pod,
    ({ securityContext }) => !["Default", undefined].includes(securityContext?.procMount),
  );
  if (!names.length) return undefined;
  return {
    reason: "procMount",
    detail: `${plural("container", names)} must not set securityContext.procMount to "Unmasked"`,
  };
};

// Says who set something: the pod, some containers, or both.
function setters(pod: KubeObject, bad: (securityContext: KubeObject) => boolean): string | undefined {
  const parts: string[] = [];
  if (bad(pod.spec.securityContext ?? {})) parts.push("pod");
  const names = failing(pod, (container) => bad(container.securityContext ?? {}));
  if (names.length) parts.push(plural("container", names));
  return parts.length ? parts.join(" and ") : undefined;
}

const SELINUX_TYPES = ["container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

const seLinux: Check = (pod) => {
  const who = setters(pod, ({ seLinuxOptions: options }) =>
    Boolean(options?.user || options?.role || (options?.type && !SELINUX_TYPES.includes(options.type))),
  );
  return who
    ? { reason: "seLinuxOptions", detail: `${who} set forbidden securityContext.seLinuxOptions` }
    : undefined;
};

const baselineSeccomp: Check = (pod) => {
  const who = setters(pod, ({ seccompProfile }) => seccompProfile?.type === "Unconfined");
  if (!who) return undefined;
  return {
    reason: "seccompProfile",
    detail: `${who} must not set securityContext.seccompProfile.type to "Unconfined"`,
  };
};

const appArmor: Check = (pod) => {
  const who = setters(pod, ({ appArmorProfile }) => appArmorProfile?.type === "Unconfined");
  return who
    ? {
        reason: "forbidden AppArmor profile",
        detail: `${who} must not set AppArmor profile type to "Unconfined"`,
      }
    : undefined;
};

const SAFE_SYSCTLS = new Set([
  "kernel.shm_rmid_forced",
  "net.ipv4.ip_local_port_range",
  "net.ipv4.tcp_syncookies",
  "net.ipv4.ping_group_range",
  "net.ipv4.ip_unprivileged_port_start",
  "net.ipv4.ip_local_reserved_ports",
  "net.ipv4.tcp_keepalive_time",
  "net.ipv4.tcp_fin_timeout",
  "net.ipv4.tcp_keepalive_intvl",
  "net.ipv4.tcp_keepalive_probes",
  "net.ipv4.tcp_rmem",
  "net.ipv4.tcp_wmem",
]);

const sysctls: Check = ({ spec }) => {
  const names = (spec.securityContext?.sysctls ?? [])
    .map((item: KubeObject) => item.name)
    .filter((name: string) => !SAFE_SYSCTLS.has(name));
  return names.length ? { reason: "forbidden sysctls", detail: names.join(", ") } : undefined;
};

const hostProcess: Check = (pod) => {
  const who = setters(pod, ({ windowsOptions }) => windowsOptions?.hostProcess === true);
  return who
    ? { reason: "hostProcess", detail: `${who} must not set securityContext.windowsOptions.hostProcess=true` }
    : undefined;
};

const escalation: Check = (pod) => {
  const names = failing(pod, (container) => container.securityContext?.allowPrivilegeEscalation !== false);
  if (!names.length) return undefined;
  return {
    reason: "allowPrivilegeEscalation != false",
    detail: `${plural("container", names)} must set securityContext.allowPrivilegeEscalation=false`,
  };
};

const restrictedCapabilities: Check = (pod) => {
  const keep = failing(pod, (container) => !container.securityContext?.capabilities?.drop?.includes("ALL"));
  const added = addedBeyond(pod, new Set(["NET_BIND_SERVICE"]));
  const parts = keep.length
    ? [`${plural("container", keep)} must set securityContext.capabilities.drop=["ALL"]`]
    : [];
  if (added) parts.push(added);
  return parts.length ? { reason: "unrestricted capabilities", detail: parts.join("; ") } : undefined;
};

const VOLUME_TYPES =
  "configMap csi downwardAPI emptyDir ephemeral persistentVolumeClaim projected secret".split(" ");

const restrictedVolumes: Check = ({ spec }) => {
  const typeOf = (volume: KubeObject) => Object.keys(volume).find((key) => key !== "name") ?? "unknown";
  const bad = (spec.volumes ?? []).filter((volume: KubeObject) => !VOLUME_TYPES.includes(typeOf(volume)));
  if (!bad.length) return undefined;
  const names = bad.map((volume: KubeObject) => volume.name);
  const types = [...new Set<string>(bad.map(typeOf))].sort();
  const use = names.length > 1 ? "use" : "uses";
  return {
    reason: "restricted volume types",
    detail: `${plural("volume", names)} ${use} restricted volume type${types.length > 1 ? "s" : ""} ${quote(types)}`,
  };
};

const runAsNonRoot: Check = (pod) => {
  const podValue = pod.spec.securityContext?.runAsNonRoot;
  const who = setters(pod, (context) => context.runAsNonRoot === false);
  const explicit = failing(pod, (container) => container.securityContext?.runAsNonRoot === false);
  if (explicit.length || podValue === false) {
    return {
      reason: "runAsNonRoot != true",
      detail: `${who} must not set securityContext.runAsNonRoot=false`,
    };
  }
  const unset = failing(pod, (container) => container.securityContext?.runAsNonRoot === undefined);
  if (podValue || !unset.length) return undefined;
  return {
    reason: "runAsNonRoot != true",
    detail: `pod or ${plural("container", unset)} must set securityContext.runAsNonRoot=true`,
  };
};

const runAsUser: Check = (pod) => {
  const who = setters(pod, (context) => context.runAsUser === 0);
  return who ? { reason: "runAsUser=0", detail: `${who} must not set runAsUser=0` } : undefined;
};

const restrictedSeccomp: Check = (pod) => {
  const allowed = ["RuntimeDefault", "Localhost"];
  const bad = setters(pod, ({ seccompProfile }) =>
    Boolean(seccompProfile && !allowed.includes(seccompProfile.type)),
  );
  if (bad) {
    return {
      reason: "seccompProfile",
      detail: `${bad} must not set securityContext.seccompProfile.type to "Unconfined"`,
    };
  }
  if (pod.spec.securityContext?.seccompProfile) return undefined;
  const unset = failing(pod, (container) => !container.securityContext?.seccompProfile);
  if (!unset.length) return undefined;
  return {
    reason: "seccompProfile",
    detail: `pod or ${plural("container", unset)} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"`,
  };
};

const SHARED: Check[] = [hostNamespaces, hostPorts, hostProcess, privileged, procMount, seLinux];
const BASELINE: Check[] = [
  appArmor,
  baselineCapabilities,
  hostNamespaces,
  hostPathVolumes,
  hostPorts,
  hostProcess,
  privileged,
  procMount,
  seLinux,
  baselineSeccomp,
  sysctls,
];
const RESTRICTED: Check[] = [
  appArmor,
  ...SHARED,
  sysctls,
  escalation,
  restrictedCapabilities,
  restrictedVolumes,
  runAsNonRoot,
  runAsUser,
  restrictedSeccomp,
];

/** What a pod, or a pod template, does that the level forbids. */
export function violations(level: "baseline" | "restricted", pod: KubeObject): Violation[] {
  const checks = level === "baseline" ? BASELINE : RESTRICTED;
  return checks.map((check) => check(pod)).filter((found) => found !== undefined);
}
