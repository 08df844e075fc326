// SPDX-License-Identifier: Apache-2.0
import type { Ask, Choice } from "./ask.ts";
import type { WizardFlags, WizardPlan } from "./flags.ts";

const pick = (...values: string[]): Choice[] => values.map((value) => ({ value, name: value }));

/** Asks what a test cluster shall be like. */
export async function planTestCluster(ask: Ask, flags: WizardFlags): Promise<WizardPlan> {
  const name =
    flags.name ??
    (await ask.input({
      message: "Name of the cluster",
      preset: "dev",
      check: (text) =>
        /^[a-z][a-z0-9-]{0,19}$/.test(text) ? undefined : "small letters, digits and dashes, 20 at most",
    }));
  const workers =
    flags.workers ??
    (await ask.input({
      message: "Worker nodes, beside the control plane",
      preset: "2",
      check: (text) => (/^\d{1,2}$/.test(text) ? undefined : "it must be a number from 0 to 99"),
    }));
  const family =
    flags.ipFamily ??
    (await ask.select({ message: "Addresses", preset: "ipv4", choices: pick("ipv4", "ipv6", "dual") }));
  const cni =
    flags.cni ??
    (await ask.select({
      message: "Pod network to start with",
      preset: "none",
      choices: [
        { value: "none", name: "none, and then the agent" },
        ...pick("flannel", "calico", "kindnet", "bridge").map((choice) => ({
          ...choice,
          description: "made like it, to migrate from",
        })),
      ],
    }));
  const proxy =
    flags.kubeProxy ??
    (cni === "none"
      ? undefined
      : await ask.select({
          message: "kube-proxy",
          preset: "iptables",
          choices: pick("iptables", "nftables", "none"),
        }));
  const config = flags.kubeconfig === undefined ? [] : ["--kubeconfig", flags.kubeconfig];
  const create = [
    "cluster",
    "create",
    "--name",
    name,
    "--workers",
    workers,
    "--ip-family",
    family,
    "--cni",
    cni,
  ];
  const run = [[...create, ...(proxy === undefined ? [] : ["--kube-proxy", proxy]), ...config]];
  const target = [...config, "--context", `sandbox-${name}`];
  if (cni === "none") run.push(["install", ...target, "--yes"]);
  if (cni === "none" && flags.test === true) run.push(["connectivity", "test", ...target]);
  return { show: [], run };
}
