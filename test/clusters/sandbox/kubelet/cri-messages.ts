// SPDX-License-Identifier: Apache-2.0
// Shapes of the CRI messages in cri.proto, as @grpc/proto-loader hands them over (times in nanoseconds).

export interface RuntimeCondition {
  type: string;
  status: boolean;
  reason: string;
  message: string;
}

export type NamespaceMode = "POD" | "CONTAINER" | "NODE";

export interface NamespaceOption {
  network: NamespaceMode;
  pid: NamespaceMode;
  ipc: NamespaceMode;
}

export interface DnsConfig {
  servers: string[];
  searches: string[];
  options: string[];
}

export interface SecurityProfile {
  profile_type: "RuntimeDefault" | "Unconfined" | "Localhost";
  localhost_ref?: string;
}

export interface SandboxConfig {
  metadata: { name: string; uid: string; namespace: string; attempt: number };
  hostname: string;
  log_directory: string;
  dns_config: DnsConfig;
  port_mappings: { protocol: string; container_port: number; host_port: number; host_ip: string }[];
  labels: Record<string, string>;
  annotations: Record<string, string>;
  linux: {
    cgroup_parent: string;
    sysctls: Record<string, string>;
    security_context: {
      namespace_options: NamespaceOption;
      run_as_user?: { value: number };
      run_as_group?: { value: number };
      supplemental_groups: number[];
      privileged: boolean;
      seccomp: SecurityProfile;
    };
  };
}

export interface SandboxInfo {
  id: string;
  metadata: { name: string; uid: string; namespace: string; attempt: number };
  state: "SANDBOX_READY" | "SANDBOX_NOTREADY";
  created_at: number;
  labels: Record<string, string>;
}

export interface SandboxStatus extends SandboxInfo {
  network: { ip: string; additional_ips: { ip: string }[] } | null;
  linux: { namespaces: { options: NamespaceOption | null } | null } | null;
}

export interface Mount {
  container_path: string;
  host_path: string;
  readonly: boolean;
  propagation: "PROPAGATION_PRIVATE" | "PROPAGATION_HOST_TO_CONTAINER" | "PROPAGATION_BIDIRECTIONAL";
}

export interface LinuxResources {
  cpu_period: number;
  cpu_quota: number;
  cpu_shares: number;
  memory_limit_in_bytes: number;
  oom_score_adj: number;
}

export interface ContainerConfig {
  metadata: { name: string; attempt: number };
  image: { image: string };
  command: string[];
  args: string[];
  working_dir: string;
  envs: { key: string; value: Buffer }[];
  mounts: Mount[];
  labels: Record<string, string>;
  annotations: Record<string, string>;
  log_path: string;
  stdin: boolean;
  stdin_once: boolean;
  tty: boolean;
  linux: {
    resources: LinuxResources;
    security_context: {
      capabilities: { add_capabilities: string[]; drop_capabilities: string[] };
      privileged: boolean;
      namespace_options: NamespaceOption;
      run_as_user?: { value: number };
      run_as_group?: { value: number };
      readonly_rootfs: boolean;
      supplemental_groups: number[];
      no_new_privs: boolean;
      seccomp: SecurityProfile;
    };
  };
}

export type ContainerStateName =
  | "CONTAINER_CREATED"
  | "CONTAINER_RUNNING"
  | "CONTAINER_EXITED"
  | "CONTAINER_UNKNOWN";

export interface ContainerInfo {
  id: string;
  pod_sandbox_id: string;
  metadata: { name: string; attempt: number };
  state: ContainerStateName;
  created_at: number;
  labels: Record<string, string>;
  annotations: Record<string, string>;
}

export interface ContainerStatus {
  id: string;
  metadata: { name: string; attempt: number };
  state: ContainerStateName;
  created_at: number;
  started_at: number;
  finished_at: number;
  exit_code: number;
  image: { image: string } | null;
  image_ref: string;
  reason: string;
  message: string;
  annotations: Record<string, string>;
  log_path: string;
}

export interface ContainerStats {
  attributes: { id: string; metadata: { name: string }; labels: Record<string, string> };
  cpu: { timestamp: number; usage_core_nano_seconds: { value: number } | null } | null;
  memory: { timestamp: number; working_set_bytes: { value: number } | null } | null;
}

export interface ImageInfo {
  id: string;
  repo_tags: string[];
  repo_digests: string[];
  size: number;
  uid: { value: number } | null;
  username: string;
}
