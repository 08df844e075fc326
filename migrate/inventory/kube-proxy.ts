// SPDX-License-Identifier: Apache-2.0
import type { KubeProxy, KubeProxyMode } from "../model/inventory.ts";
import { configOf, type DaemonSet, type Evidence, readable } from "./network/evidence.ts";
import type { PodTally } from "./pods.ts";

const modes: readonly string[] = ["iptables", "nftables", "ipvs", "userspace", "kernelspace"];

const modeOf = (text: unknown): KubeProxyMode => {
  if (text === undefined || text === null || text === "") return "iptables";
  return modes.includes(String(text)) ? (text as KubeProxyMode) : "unknown";
};

/** Value of `--name=value` or `--name value`. */
export function argument(args: readonly string[], name: string): string | undefined {
  for (const [index, arg] of args.entries()) {
    if (arg === name) return args[index + 1];
    if (arg.startsWith(`${name}=`)) return arg.slice(name.length + 1);
    // Containers that run a shell have everything in one argument.
    const inside = arg.includes(" ") ? new RegExp(`${name}[= ](\\S+)`).exec(arg)?.[1] : undefined;
    if (inside !== undefined) return inside;
  }
  return undefined;
}

/** What routes Services today, in whichever form it runs. */
export async function detectKubeProxy(
  evidence: Evidence,
  pods: PodTally,
  network: { servesServices: boolean },
): Promise<KubeProxy> {
  const nodePortRange = argument(pods.parts.get("kube-apiserver")?.args ?? [], "--service-node-port-range");
  const range = nodePortRange === undefined ? {} : { nodePortRange };
  const set = evidence.daemonSets.find(
    ({ ref, object }) =>
      (ref.name === "kube-proxy" || object.spec?.selector?.matchLabels?.["k8s-app"] === "kube-proxy") &&
      !/windows/.test(ref.name),
  );
  if (set !== undefined) return { ...(await ofDaemonSet(evidence, set)), ...range };
  const part = pods.parts.get("kube-proxy");
  if (part !== undefined) {
    const object = { kind: "Pod", namespace: part.namespace, name: part.name };
    const mode = modeOf(argument(part.args, "--proxy-mode"));
    return { form: "static-pod", mode, object, disabled: false, ...range };
  }
  return { ...withoutObject(evidence, network), ...range };
}

async function ofDaemonSet(evidence: Evidence, set: DaemonSet): Promise<KubeProxy> {
  const { data, refs } = await configOf(evidence, set);
  const key = ["config.conf", "config", "kube-proxy.conf", "kubeproxy.conf"].find(
    (name) => data[name] !== undefined,
  );
  const config = key === undefined ? {} : readable(data[key]);
  const clusterCIDR = argument(set.args, "--cluster-cidr") ?? config.clusterCIDR;
  const [configMap] = refs;
  return {
    form: "daemonset",
    mode: modeOf(argument(set.args, "--proxy-mode") ?? config.mode),
    object: set.ref,
    ...(configMap === undefined ? {} : { configMap }),
    ...(clusterCIDR ? { clusterCIDR: String(clusterCIDR) } : {}),
    disabled: set.object.spec?.template?.spec?.nodeSelector?.["non-existing"] === "true" || set.idle,
  };
}

/** No pod of it is seen: inside a distribution's process, a service of the nodes' init, or none at all. */
function withoutObject(
  { nodes, platform }: Evidence,
  { servesServices }: { servesServices: boolean },
): KubeProxy {
  const seen = [...nodes.entries.values()]
    .map(({ node }) => node.facts?.kubeProxy)
    .find((entry) => entry !== undefined);
  if (seen !== undefined) return { ...seen, disabled: seen.form === "none" };
  const args = nodes.distributionArgs;
  const isOff = args.some((arg) => /^--disable-kube-proxy(=true)?$/.test(arg));
  if ((platform === "k3s" || platform === "microk8s") && !isOff) {
    const mode = modeOf(/proxy-mode=(\w+)/.exec(args.join(" "))?.[1]);
    return { form: "k3s", mode, disabled: false };
  }
  if (servesServices || isOff) return { form: "none", mode: "unknown", disabled: true };
  const factsKnown = [...nodes.entries.values()].some(({ node }) => node.facts !== undefined);
  return { form: factsKnown ? "none" : "unknown", mode: "unknown", disabled: factsKnown };
}
