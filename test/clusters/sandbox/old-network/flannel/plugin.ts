// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { parseCidr } from "../../../../../lib/addresses.ts";
import { type CniCall, type CniConfig, CniError, delegate } from "../cni-call.ts";
import { parseSubnetEnv, type SubnetEnv, subnetFile } from "./subnet-env.ts";

const defaultDataDir = "/var/lib/cni/flannel";

/** The `flannel` plugin: fills in what flanneld knows and hands over to `bridge` with `host-local`. */
export async function plugin(call: CniCall): Promise<string> {
  const { config, containerId } = call;
  const kept = path.join(config.dataDir ?? defaultDataDir, containerId);
  if (call.command === "DEL") return remove(kept, config);
  const delegated = delegateConfig(config, readSubnetEnv(config.subnetFile ?? subnetFile));
  if (call.command === "ADD") {
    mkdirSync(path.dirname(kept), { recursive: true, mode: 0o700 });
    writeFileSync(kept, JSON.stringify(delegated), { mode: 0o600 });
  }
  return delegate(delegated.type, delegated);
}

/** Without the record that ADD left there is nothing to take back. */
function remove(kept: string, config: CniConfig): string {
  let delegated: CniConfig;
  try {
    delegated = JSON.parse(readFileSync(kept, "utf8"));
  } catch {
    return "";
  }
  const prevResult = config.prevResult === undefined ? {} : { prevResult: config.prevResult };
  const answer = delegate(delegated.type, { ...delegated, ...prevResult });
  rmSync(kept, { force: true });
  return answer;
}

function readSubnetEnv(file: string): SubnetEnv {
  try {
    return parseSubnetEnv(readFileSync(file, "utf8"));
  } catch (cause) {
    throw new CniError(`loadFlannelSubnetEnv failed: ${(cause as Error).message}`, 11);
  }
}

/** The configuration that the delegate gets. What the user set there wins. */
export function delegateConfig(config: CniConfig, env: SubnetEnv): CniConfig {
  const wanted = { type: "bridge", ...config.delegate } as CniConfig;
  const ranges = [env.ipv4, env.ipv6].filter((range) => range !== undefined);
  return {
    ...wanted,
    name: config.name,
    cniVersion: config.cniVersion,
    // Either flanneld masquerades or the bridge does.
    ipMasq: wanted.ipMasq ?? !env.ipMasq,
    mtu: wanted.mtu ?? env.mtu,
    ...(wanted.type === "bridge" ? { isGateway: wanted.isGateway ?? true } : {}),
    ...(config.runtimeConfig === undefined ? {} : { runtimeConfig: config.runtimeConfig }),
    // flanneld writes the first address of the range; host-local wants the range by itself.
    ipam: {
      type: "host-local",
      ...config.ipam,
      ranges: ranges.map(({ subnet }) => [{ subnet: parseCidr(subnet).text }]),
      routes: [...(config.ipam?.routes ?? []), ...ranges.map(({ network }) => ({ dst: network }))],
    },
  };
}
