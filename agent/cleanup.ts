// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { hostPrefix, parseCidr } from "../lib/addresses.ts";
import { ShuntError } from "../lib/errors.ts";
import { ipBatch, ipJson } from "./ip-command.ts";
import { detachPinned, detachTc } from "./libbpf.ts";
import { gatewayOf } from "./node-model.ts";
import { ensureRules, ownRoutes } from "./node-network.ts";
import { cniBinary, cniConfFile, overlayDevice, pinRoot, stateFolder, sysctlFile } from "./paths.ts";
import { listPodDevices } from "./pod-link.ts";
import { restoreSysctls } from "./sysctl.ts";

/**
 * Removes everything that an agent left on this node, CNI configuration first so that no new pod comes. Tries all
 * of it, then throws what failed. Returns what was removed, and which kernel settings were put back.
 */
export async function cleanNode(): Promise<{ removed: string[]; restored: string[] }> {
  const removed: string[] = [];
  const restored: string[] = [];
  const failed: unknown[] = [];
  const step = async (work: () => Promise<void>) => {
    try {
      await work();
    } catch (error) {
      failed.push(error);
    }
  };
  const file = (path: string) =>
    step(async () => {
      if (!existsSync(path)) return;
      await rm(path, { recursive: true });
      removed.push(path);
    });
  await file(cniConfFile);
  await step(async () => void removed.push(...(await detachLinks())));
  await step(async () => void removed.push(...(await removeDevices())));
  await step(async () => void removed.push(...(await removeRoutes())));
  await step(async () => void restored.push(...restoreSysctls()));
  await file(pinRoot);
  await file(cniBinary);
  // The folder itself is a mount point in the agent's pod: only what is in it can go. Settings that could not be put
  // back stay known.
  for (const name of existsSync(stateFolder) ? readdirSync(stateFolder) : [])
    if (join(stateFolder, name) !== sysctlFile) await file(join(stateFolder, name));
  if (failed.length > 0)
    throw new ShuntError("Parts of the agent could not be removed from this node", {
      cause: new AggregateError(failed),
      remedy: "Mend what is named and run the cleanup again.",
    });
  return { removed, restored };
}

async function detachLinks(): Promise<string[]> {
  const removed: string[] = [];
  const indexes = new Map<string, number>(
    (await ipJson(["link", "show"])).map((link) => [link.ifname, link.ifindex]),
  );
  for (const version of existsSync(pinRoot) ? readdirSync(pinRoot) : []) {
    const folder = join(pinRoot, version, "links");
    for (const name of existsSync(folder) ? readdirSync(folder) : []) {
      detachPinned(join(folder, name));
      removed.push(join(folder, name));
    }
  }
  // Kernels without tcx have filters instead of pinned links, on devices that stay.
  for (const [name, ifindex] of indexes)
    if (!name.startsWith("shv") && name !== "lo")
      for (const direction of ["ingress", "egress"] as const)
        detachTc({ ifindex, direction, pinPath: join(pinRoot, "none") });
  return removed;
}

async function removeDevices(): Promise<string[]> {
  const devices = [...(await listPodDevices()).keys()];
  if ((await ipJson(["link", "show", "dev", overlayDevice])).length > 0) devices.push(overlayDevice);
  await ipBatch(devices.map((device) => `link del ${device}`));
  return devices.map((device) => `device ${device}`);
}

async function removeRoutes(): Promise<string[]> {
  const routes = await ownRoutes();
  const lines = routes.map((route) => route.deletion);
  // With direct routing the gateway address of the node's own range is on the loopback device.
  for (const route of routes.filter((entry) => entry.type !== "" && entry.dst.includes("/"))) {
    const gateway = gatewayOf(parseCidr(route.dst));
    lines.push(`addr del ${hostPrefix(gateway)} dev lo`);
  }
  const errors = ((await ipBatch(lines, { force: true })) + (await ensureRules([])))
    .split("\n")
    .filter(
      (line) => line !== "" && !/No such process|Cannot assign|address not found|Command failed/i.test(line),
    );
  if (errors.length > 0) throw new ShuntError(`Cannot remove routes: ${errors.join("; ")}`);
  return routes.map((route) => `route ${route.dst}`);
}
