// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { type CniCall, CniError, delegate, runProgram } from "../cni-call.ts";
import { syncEndpointRules } from "./endpoint-rules.ts";
import { withRulesLock } from "./lock.ts";
import { endpointsDir, interfaceOf, stateDir } from "./names.ts";

const hostMac = "ee:ee:ee:ee:ee:ee";
const gateway = "169.254.1.1";

/** The `calico` plugin: a veth pair without a bridge; the node answers ARP for a gateway that is nowhere. */
export async function plugin(call: CniCall): Promise<string> {
  if (call.command === "CHECK") return "";
  const name = interfaceOf(call.podNamespace, call.podName);
  return call.command === "ADD" ? await add(call, name) : await remove(call, name);
}

async function add(call: CniCall, name: string): Promise<string> {
  const { config, ifName, netns } = call;
  const assigned = JSON.parse(delegate("host-local", withRanges(call), "ADD"));
  const addresses: string[] = assigned.ips.map(({ address }: { address: string }) => address.split("/")[0]);
  const mtu = readState("mtu");
  if (existsSync(`/sys/class/net/${name}`)) ip(`link delete ${name}`);
  ip(
    `link add ${name} mtu ${mtu} address ${hostMac} type veth peer name ${ifName} mtu ${mtu} netns ${netns}`,
    `link set ${name} up`,
  );
  const inPod = [
    `link set ${ifName} up`,
    ...addresses.map((address) => `address add ${address}/32 dev ${ifName}`),
    `route add ${gateway} dev ${ifName} scope link`,
    `route add default via ${gateway} dev ${ifName}`,
  ];
  runProgram("nsenter", [`--net=${netns}`, "ip", "-batch", "-"], `${inPod.join("\n")}\n`);
  for (const [setting, value] of Object.entries({
    [`conf/${name}/proxy_arp`]: "1",
    [`conf/${name}/forwarding`]: "1",
    [`neigh/${name}/proxy_delay`]: "0",
  }))
    writeFileSync(`/proc/sys/net/ipv4/${setting}`, value);
  ip(...addresses.map((address) => `route replace ${address} dev ${name} scope link`));
  mkdirSync(endpointsDir, { recursive: true });
  writeFileSync(path.join(endpointsDir, name), call.podNamespace);
  await withRulesLock(syncEndpointRules);
  return JSON.stringify({
    cniVersion: config.cniVersion,
    interfaces: [{ name }],
    ips: addresses.map((address) => ({ version: "4", address: `${address}/32` })),
    dns: {},
  });
}

/** What is gone already is no error; calico-node may have gone before, with all it knew. */
async function remove(call: CniCall, name: string): Promise<string> {
  // It releases what the container has, whatever the range, but refuses to start without one.
  const ipam = { type: "host-local", ranges: [[{ subnet: "192.0.2.0/24" }]] };
  delegate("host-local", { ...call.config, ipam }, "DEL");
  if (existsSync(`/sys/class/net/${name}`)) ip(`link delete ${name}`);
  const endpoint = path.join(endpointsDir, name);
  if (existsSync(endpoint)) {
    rmSync(endpoint, { force: true });
    await withRulesLock(syncEndpointRules);
  }
  return "";
}

/** `usePodCidr` stands for the node's own range. */
function withRanges({ config }: CniCall): CniCall["config"] {
  const { subnet } = config.ipam;
  const cidrs = subnet === "usePodCidr" ? readState("pod-cidrs").split(",") : [subnet];
  return { ...config, ipam: { type: "host-local", ranges: cidrs.map((cidr) => [{ subnet: cidr }]) } };
}

function readState(name: string): string {
  const file = path.join(stateDir, name);
  try {
    return readFileSync(file, "utf8").trim();
  } catch (cause) {
    throw new CniError(
      `${(cause as Error).message}: check that the calico/node container is running and has mounted ${stateDir}/`,
      11,
    );
  }
}

function ip(...commands: string[]): void {
  runProgram("ip", ["-batch", "-"], `${commands.join("\n")}\n`);
}
