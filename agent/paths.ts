// SPDX-License-Identifier: Apache-2.0
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Folder on the node for the socket and the endpoints' state; survives the agent. */
export const stateFolder = "/var/run/shunt";
export const socketPath = `${stateFolder}/cni.sock`;
export const endpointFolder = `${stateFolder}/endpoints`;
/** Versions of policies that stay in force although their objects say something else now. */
export const policyFile = `${stateFolder}/policies.json`;
/** Kernel settings as they were before the agent. */
export const sysctlFile = `${stateFolder}/sysctls.json`;
export const cniConfFile = "/etc/cni/net.d/05-shunt.conflist";
export const cniBinary = "/opt/cni/bin/shunt-cni";
export const bpffsRoot = "/sys/fs/bpf";
export const pinRoot = `${bpffsRoot}/shunt`;
export const configFile = "/etc/shunt/config.yaml";

/** The VXLAN device; the node's gateway addresses live on it. */
export const overlayDevice = "shunt_vxlan";
/** Host sides of the pods' veth pairs begin with this. */
export const podDevicePrefix = "shv";

/** A file of the build, beside this folder in the image and in the repository. */
export function buildFile(name: string): string {
  return fileURLToPath(new URL(`../build/${name}`, import.meta.url));
}

/** Where the cgroup version 2 tree is mounted: of its own, or beside version 1 controllers. */
export function cgroupRoot(): string | undefined {
  return ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].find((path) =>
    existsSync(`${path}/cgroup.controllers`),
  );
}
