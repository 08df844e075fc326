// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { type CniCall, type CniConfig, CniError, type CniPlugin } from "./cni-call.ts";

const plugins: Record<string, () => Promise<{ plugin: CniPlugin }>> = {
  calico: () => import("./calico/plugin.ts"),
  flannel: () => import("./flannel/plugin.ts"),
};

const supportedVersions = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0"];

/** `cni-plugin NAME`: the plugin NAME, called as CNI says: environment, standard input and output. */
export async function main(argv: string[]): Promise<number> {
  const load = plugins[argv[0] ?? ""];
  let cniVersion = "1.0.0";
  try {
    if (load === undefined) throw new CniError(`there is no plugin "${argv[0]}"`, 4);
    const { env } = process;
    const text = readFileSync(0, "utf8");
    if (env.CNI_COMMAND === "VERSION") {
      process.stdout.write(JSON.stringify({ cniVersion: "1.0.0", supportedVersions }));
      return 0;
    }
    const config = JSON.parse(text) as CniConfig;
    cniVersion = config.cniVersion ?? cniVersion;
    process.stdout.write(await (await load()).plugin(readCall(config, env)));
    return 0;
  } catch (error) {
    const { message, code = 999 } = error as CniError;
    const known = typeof code === "number" ? code : 999;
    process.stdout.write(JSON.stringify({ cniVersion, code: known, msg: `${argv[0]}: ${message}` }));
    return 1;
  }
}

function readCall(config: CniConfig, env: Record<string, string | undefined>): CniCall {
  const args = new Map((env.CNI_ARGS ?? "").split(";").map((pair) => pair.split("=", 2) as [string, string]));
  const command = env.CNI_COMMAND ?? "";
  if (command !== "ADD" && command !== "DEL" && command !== "CHECK")
    throw new CniError(`unknown CNI_COMMAND "${command}"`, 4);
  return {
    command,
    containerId: env.CNI_CONTAINERID ?? "",
    netns: env.CNI_NETNS ?? "",
    ifName: env.CNI_IFNAME ?? "eth0",
    podNamespace: args.get("K8S_POD_NAMESPACE") ?? "",
    podName: args.get("K8S_POD_NAME") ?? "",
    config,
  };
}
