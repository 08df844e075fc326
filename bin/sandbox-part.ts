// SPDX-License-Identifier: Apache-2.0
import { setPriority } from "node:os";

const parts: Record<string, () => Promise<{ main(argv: string[]): Promise<number> }>> = {
  apiserver: () => import("../test/clusters/sandbox/apiserver/index.ts"),
  "cni-plugin": () => import("../test/clusters/sandbox/old-network/cni-plugin.ts"),
  "controller-manager": () => import("../test/clusters/sandbox/controller-manager/index.ts"),
  dns: () => import("../test/clusters/sandbox/dns/index.ts"),
  forward: () => import("../test/clusters/sandbox/forward/index.ts"),
  internet: () => import("../test/clusters/sandbox/internet/index.ts"),
  "kube-proxy": () => import("../test/clusters/sandbox/kube-proxy/index.ts"),
  kubelet: () => import("../test/clusters/sandbox/kubelet/index.ts"),
  "old-network": () => import("../test/clusters/sandbox/old-network/index.ts"),
  scheduler: () => import("../test/clusters/sandbox/scheduler/index.ts"),
  visitor: () => import("../test/clusters/sandbox/visitor/index.ts"),
};
const [name = "", ...argv] = process.argv.slice(2);
const load = parts[name];
if (load === undefined)
  process.stderr.write(`unknown part "${name}"; known: ${Object.keys(parts).join(", ")}\n`);
// What the cluster lives from goes before what it carries.
if (process.getuid?.() === 0 && ["apiserver", "controller-manager", "kubelet", "scheduler"].includes(name))
  setPriority(-5);
process.exit(load === undefined ? 2 : await (await load()).main(argv));
