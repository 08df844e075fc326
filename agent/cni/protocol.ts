// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../lib/errors.ts";
import type { Attachment, Endpoint } from "../endpoint-store.ts";

/** What the shim sends: CNI's environment and standard input. */
export interface CniRequest {
  command: string;
  containerId: string;
  ifName: string;
  netns: string;
  args: Record<string, string>;
  /** The network configuration. */
  config: any;
  cniVersion: string;
}

/** What the shim prints and how it exits. */
export interface CniAnswer {
  exitCode: number;
  stdout: string;
}

const cniVersions = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/** Error codes of the CNI specification. */
export const cniCodes = {
  incompatibleVersion: 1,
  invalidEnvironment: 4,
  io: 5,
  decode: 6,
  invalidConfig: 7,
  tryAgainLater: 11,
  notAvailable: 50,
  noFreeAddress: 101,
  checkFailed: 102,
  failed: 999,
} as const;

/** A failure with its CNI error code. */
export class CniError extends ShuntError {
  readonly cniCode: number;
  constructor(cniCode: number, message: string, remedy?: string) {
    super(message, { code: `Cni${cniCode}`, ...(remedy === undefined ? {} : { remedy }) });
    this.name = "CniError";
    this.cniCode = cniCode;
  }
}

const needed: Record<string, { container: boolean; ifName: boolean; netns: boolean }> = {
  ADD: { container: true, ifName: true, netns: true },
  CHECK: { container: true, ifName: true, netns: true },
  DEL: { container: true, ifName: true, netns: false },
  GC: { container: false, ifName: false, netns: false },
  STATUS: { container: false, ifName: false, netns: false },
};

/** Reads and checks one request of the shim. Throws CniError. */
export function parseRequest(text: string): CniRequest {
  let message: any;
  let config: any;
  try {
    message = JSON.parse(text);
    config = message.stdin === "" ? {} : JSON.parse(message.stdin);
  } catch {
    throw new CniError(cniCodes.decode, "the network configuration on standard input is not JSON");
  }
  if (typeof config !== "object" || config === null || Array.isArray(config))
    throw new CniError(cniCodes.decode, "the network configuration is not an object");
  const env: Record<string, string> = message?.env ?? {};
  const command = env.CNI_COMMAND ?? "";
  const need = Object.hasOwn(needed, command) ? needed[command]! : undefined;
  if (need === undefined)
    throw new CniError(cniCodes.invalidEnvironment, `CNI_COMMAND "${command}" is not known`);
  const cniVersion = typeof config.cniVersion === "string" ? config.cniVersion : "0.3.1";
  if (!cniVersions.includes(cniVersion))
    throw new CniError(cniCodes.incompatibleVersion, `cniVersion "${cniVersion}" is not supported`);
  const containerId = env.CNI_CONTAINERID ?? "";
  const ifName = env.CNI_IFNAME ?? "";
  const netns = env.CNI_NETNS ?? "";
  // The specification's own character sets; the values become file and device names.
  if ((need.container || containerId !== "") && !/^[A-Za-z0-9][\w.-]{0,200}$/.test(containerId))
    throw new CniError(cniCodes.invalidEnvironment, `CNI_CONTAINERID "${containerId}" is not valid`);
  if (
    (need.ifName || ifName !== "") &&
    (!/^[A-Za-z0-9_][^\s/:"'\\#]{0,14}$/.test(ifName) || ifName === "." || ifName === "..")
  )
    throw new CniError(cniCodes.invalidEnvironment, `CNI_IFNAME "${ifName}" is not valid`);
  if (need.netns && !/^\/[\w./-]+$/.test(netns))
    throw new CniError(cniCodes.invalidEnvironment, `CNI_NETNS "${netns}" is not valid`);
  return { command, containerId, ifName, netns, args: parseArgs(env.CNI_ARGS ?? ""), config, cniVersion };
}

function parseArgs(text: string): Record<string, string> {
  return Object.fromEntries(
    text
      .split(";")
      .filter((pair) => pair.includes("="))
      .map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)]),
  );
}

/** The attachment that an ADD asks for. */
export function attachmentOf(request: CniRequest): Attachment {
  return {
    containerId: request.containerId,
    ifName: request.ifName,
    netns: request.netns,
    podNamespace: request.args.K8S_POD_NAMESPACE ?? "",
    podName: request.args.K8S_POD_NAME ?? "",
    podUid: request.args.K8S_POD_UID ?? "",
  };
}

/** ADD's result in the form of the version that the runtime speaks. */
export function addResult(endpoint: Endpoint, cniVersion: string): unknown {
  const withVersion = /^0\./.test(cniVersion);
  const mtu = cniVersion === "1.1.0" ? { mtu: endpoint.mtu } : {};
  return {
    cniVersion,
    interfaces: [
      { name: endpoint.device, mac: endpoint.hostMac, ...mtu },
      { name: endpoint.ifName, mac: endpoint.mac, ...mtu, sandbox: endpoint.netns },
    ],
    ips: endpoint.addresses.map((address, index) => {
      const six = address.includes(":");
      return {
        ...(withVersion ? { version: six ? "6" : "4" } : {}),
        interface: 1,
        address: `${address}/${six ? 128 : 32}`,
        gateway: endpoint.gateways[index],
      };
    }),
    routes: endpoint.gateways.map((gateway) => ({
      dst: gateway.includes(":") ? "::/0" : "0.0.0.0/0",
      gw: gateway,
    })),
    dns: {},
  };
}

/** The attachments that GC names as valid, as keys `container.interface`. Throws CniError when it names none. */
export function validAttachments(request: CniRequest): Set<string> {
  const list = request.config["cni.dev/valid-attachments"] ?? request.config["cni.dev/attachments"];
  if (!Array.isArray(list))
    throw new CniError(cniCodes.invalidConfig, "GC needs the key cni.dev/valid-attachments");
  return new Set(list.map((entry: any) => `${entry?.containerID}.${entry?.ifname}`));
}
