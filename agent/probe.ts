// SPDX-License-Identifier: Apache-2.0

import { createSocket } from "node:dgram";
import { existsSync, mkdtempSync, rmdirSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { errorMessage } from "../lib/errors.ts";
import { configFlags, config as configLayout, programs } from "./datapath-layout.ts";
import { ipBatch, ipJson } from "./ip-command.ts";
import { attachCgroup, detachPinned, loadObject, netnsCookie } from "./libbpf.ts";
import { bpffsRoot, buildFile, cgroupRoot, overlayDevice } from "./paths.ts";

export interface Feature {
  name: string;
  ok: boolean;
  /** False for what only makes the agent better. */
  required: boolean;
  reason?: string;
}

export interface ProbeResult {
  kernel: string;
  features: Feature[];
}

/** Tries what the agent will do on this node, with objects of its own that are gone afterwards. */
export async function probeKernel(tunnelPort: number): Promise<ProbeResult> {
  const features: Feature[] = [];
  const attempt = async (name: string, required: boolean, work: () => Promise<void> | void) => {
    try {
      await work();
      features.push({ name, ok: true, required });
    } catch (error) {
      features.push({ name, ok: false, required, reason: errorMessage(error).split("\n")[0]! });
    }
  };
  const need = (path: string, what: string) => {
    if (!existsSync(path)) throw new Error(what);
  };
  await attempt("kernel type information (BTF)", false, () =>
    need("/sys/kernel/btf/vmlinux", "/sys/kernel/btf/vmlinux is missing"),
  );
  await attempt("bpffs", true, () => probeBpffs());
  for (const object of new Set(programs.map((place) => place.object)))
    await attempt(`programs of ${object}`, true, () => probeObject(object, 0));
  await attempt("refusing connections to services without backends", false, () =>
    probeObject("socket.bpf.o", configFlags.CONFIG_SET_RETVAL),
  );
  await attempt("socket hooks on cgroup version 2", true, () => probeCgroup());
  await attempt("network namespace cookies", false, () => {
    if (netnsCookie() === 0n) throw new Error("SO_NETNS_COOKIE is not there (Linux 5.14)");
  });
  await attempt("veth", true, () => probeLink("shprobe0", "type veth peer name shprobe1"));
  await attempt("vxlan", true, () =>
    probeLink("shprobe2", `type vxlan external dstport ${tunnelPort === 4789 ? 4788 : 4789 + 40_000}`),
  );
  await attempt(`UDP port ${tunnelPort} is free`, true, () => probePort(tunnelPort));
  return { kernel: release(), features };
}

function probeBpffs(): void {
  const folder = mkdtempSync(join(bpffsRoot, "shunt-probe-"));
  rmdirSync(folder);
}

function probeObject(object: string, flags: number): void {
  loadObject(buildFile(`bpf/${object}`), { config: configLayout.encode({ flags }) }).close();
}

/** Attaches to an empty cgroup of its own, which no process is in. */
function probeCgroup(): void {
  const root = cgroupRoot();
  if (root === undefined) throw new Error("no cgroup version 2 hierarchy below /sys/fs/cgroup");
  using undo = new DisposableStack();
  const object = undo.adopt(
    loadObject(buildFile("bpf/socket.bpf.o"), { config: configLayout.encode({}) }),
    (it) => it.close(),
  );
  const pins = undo.adopt(mkdtempSync(join(bpffsRoot, "shunt-probe-")), (path) => rmdirSync(path));
  const cgroupPath = undo.adopt(mkdtempSync(join(root, "shunt-probe-")), (path) => rmdirSync(path));
  const pinPath = join(pins, "link");
  undo.defer(() => void detachPinned(pinPath));
  attachCgroup({ cgroupPath, hook: "connect4", programFd: object.programFd("sock_connect4"), pinPath });
}

async function probeLink(name: string, type: string): Promise<void> {
  await ipBatch([`link del ${name}`], { force: true });
  await ipBatch([`link add ${name} ${type}`]);
  await ipBatch([`link del ${name}`]);
}

async function probePort(port: number): Promise<void> {
  const [own] = await ipJson(["link", "show", "dev", overlayDevice]);
  if (own?.linkinfo?.info_data?.port === port) return;
  const links = await ipJson(["link", "show", "type", "vxlan"]);
  const other = links.find((link) => link.linkinfo?.info_data?.port === port);
  if (other !== undefined) throw new Error(`device ${other.ifname} uses it; choose another tunnelPort`);
  const socket = createSocket({ type: "udp4" });
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      socket.bind(port, () => resolve());
    });
  } finally {
    socket.close();
  }
}
