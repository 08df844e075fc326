// SPDX-License-Identifier: Apache-2.0
import { UsageError } from "../../lib/errors.ts";
import { defaultValues } from "../values.ts";
import type { Ask, Choice } from "./ask.ts";
import type { ClusterLook } from "./look.ts";

export const paths = ["install", "migrate", "test-cluster", "connectivity"] as const;
export type WizardPath = (typeof paths)[number];

/** Answers given by flags; what is absent is asked. */
export interface WizardFlags {
  kubeconfig?: string;
  context?: string;
  path?: WizardPath;
  routing?: string;
  image?: string;
  /** kube-proxy goes on beside the agent. */
  keepKubeProxy?: boolean;
  strategy?: string;
  maxUnavailable?: string;
  planFile?: string;
  name?: string;
  workers?: string;
  ipFamily?: string;
  cni?: string;
  kubeProxy?: string;
  /** Test the connectivity at the end. */
  test?: boolean;
}

/** The commands that the answers amount to, each as the words after `shunt`. */
export interface WizardPlan {
  /** Run first: they change nothing and show what the others would do. */
  show: string[][];
  run: string[][];
}

const words: Record<WizardPath, [string, string]> = {
  install: ["Install the agent", "a cluster without a pod network, or an upgrade of Shunt"],
  migrate: ["Migrate to the agent", "from the pod network and kube-proxy that are there, while traffic runs"],
  "test-cluster": ["Create a test cluster", "several nodes on this machine, without Docker; Linux and root"],
  connectivity: ["Test the connectivity", "pods and Services are made, tried and removed"],
};

const others = (look: ClusterLook): string[] => look.networks.filter((name) => name !== "unknown");

/** The path that most likely is wanted for what is there. */
export function suggestPath(look: ClusterLook | undefined): WizardPath {
  if (look === undefined) return "test-cluster";
  if (look.shunt?.podNetwork === "active") return "connectivity";
  return look.networks.length > 0 ? "migrate" : "install";
}

/** Why a path cannot be taken on this cluster; undefined when it can. */
export function refusal(path: WizardPath, look: ClusterLook | undefined): string | undefined {
  if (path === "test-cluster") return undefined;
  if (look === undefined) return "no cluster answers";
  if (path === "install" && others(look).length > 0) return `the cluster runs ${others(look).join(", ")}`;
  if (path === "migrate" && look.networks.length === 0) {
    return look.shunt === undefined ? "there is no pod network to migrate from" : "Shunt is the pod network";
  }
  if (path === "connectivity" && look.readyNodes === 0) return "no node is ready";
  return undefined;
}

/** Which of the four it shall be. */
export async function askPath(
  ask: Ask,
  flags: WizardFlags,
  look: ClusterLook | undefined,
): Promise<WizardPath> {
  const picked =
    flags.path ??
    ((await ask.select({
      message: "What shall be done?",
      preset: suggestPath(look),
      choices: paths.map((value): Choice => {
        const disabled = refusal(value, look);
        const [name, description] = words[value];
        return { value, name, description, ...(disabled === undefined ? {} : { disabled }) };
      }),
    })) as WizardPath);
  const reason = refusal(picked, look);
  if (reason !== undefined)
    throw new UsageError(
      `Cannot take the path "${picked}": ${reason}`,
      `The one that fits: --path ${suggestPath(look)}`,
    );
  return picked;
}

/** Asks what the path needs and cannot know, and turns it into commands. */
export async function askPlan(
  ask: Ask,
  flags: WizardFlags,
  path: WizardPath,
  look: ClusterLook | undefined,
): Promise<WizardPlan> {
  if (path === "test-cluster") return await testCluster(ask, flags);
  if (look === undefined)
    throw new UsageError("No cluster answers", "Name one with --kubeconfig and --context.");
  const target = [
    ...(flags.kubeconfig === undefined ? [] : ["--kubeconfig", flags.kubeconfig]),
    ...["--context", look.context],
  ];
  const single = look.nodes === 1 ? ["--single-node"] : [];
  const test = ["connectivity", "test", ...target, ...single];
  if (path === "connectivity") return { show: [["connectivity", "test", "--list"]], run: [test] };
  const plan =
    path === "install" ? await install(ask, flags, look, target) : await migrate(ask, flags, look, target);
  const wantsTest =
    flags.test ?? (await ask.confirm({ message: "Test the connectivity at the end?", preset: true }));
  return wantsTest ? { ...plan, run: [...plan.run, test] } : plan;
}

async function install(
  ask: Ask,
  flags: WizardFlags,
  look: ClusterLook,
  target: string[],
): Promise<WizardPlan> {
  const sets: string[] = [];
  const set = (key: string, value: string): void => void sets.push("--set", `${key}=${value}`);
  const routing =
    flags.routing ??
    (await ask.select({
      message: "How do packets get from node to node?",
      preset: defaultValues.routing,
      choices: [
        { value: "vxlan", name: "vxlan", description: "an overlay; works on any network" },
        { value: "direct", name: "direct", description: "by plain routing; all nodes on one network" },
      ],
    }));
  if (routing !== defaultValues.routing) set("routing", routing);
  // The image of a sandbox is on its nodes; anywhere else it has to come from a registry.
  const image =
    flags.image ??
    (look.context.startsWith("sandbox-")
      ? defaultValues.image
      : await ask.input({
          message: "Image of the agent, as the nodes can pull it",
          preset: defaultValues.image,
          check: (text) => (/^\S+$/.test(text) ? undefined : "an image's name has no spaces"),
        }));
  if (image !== defaultValues.image) set("image", image);
  if (look.kubeProxy === "running") {
    const keep =
      flags.keepKubeProxy ??
      !(await ask.confirm({ message: "Replace kube-proxy? uninstall brings it back.", preset: true }));
    if (keep) set("kubeProxyReplacement", "false");
  }
  if (look.networks.includes("unknown")) set("preflight.allowExistingCni", "true");
  const command = [look.shunt === undefined ? "install" : "upgrade", ...target, ...sets];
  return { show: [[...command, "--dry-run"]], run: [[...command, "--yes"]] };
}

const count = (text: string): string | undefined =>
  /^[1-9]\d{0,3}$/.test(text) ? undefined : "it must be a whole number from 1";

async function migrate(
  ask: Ask,
  flags: WizardFlags,
  look: ClusterLook,
  target: string[],
): Promise<WizardPlan> {
  const withoutProxy = look.kubeProxy === "running" ? {} : { disabled: `kube-proxy is ${look.kubeProxy}` };
  const strategy =
    flags.strategy ??
    (await ask.select({
      message: "Which way?",
      preset: "node-by-node",
      choices: [
        {
          value: "node-by-node",
          name: "node by node",
          description: "both networks side by side; each node is drained, switched and verified in turn",
        },
        {
          value: "blue-green",
          name: "new nodes",
          description: "new nodes join with the agent; the old ones are drained and removed",
        },
        {
          value: "kube-proxy-only",
          name: "kube-proxy only",
          description: "the pod network stays; the agent takes over Services",
          ...withoutProxy,
        },
      ],
    }));
  const atOnce =
    flags.maxUnavailable ??
    (strategy === "kube-proxy-only" || look.nodes < 3
      ? "1"
      : await ask.input({ message: "How many nodes may be away at once?", preset: "1", check: count }));
  const file =
    flags.planFile ??
    (await ask.input({
      message: "File for the plan",
      preset: "shunt-migration-plan.yaml",
      check: (text) => (text.trim() === "" ? "name a file" : undefined),
    }));
  const plan = ["--strategy", strategy, "--max-unavailable", atOnce, "--out", file];
  return {
    show: [
      ["migrate", "preflight", ...target, "--strategy", strategy],
      ["migrate", "plan", ...target, ...plan],
    ],
    run: [["migrate", "run", ...target, "--plan", file, "--yes"]],
  };
}

const pick = (...values: string[]): Choice[] => values.map((value) => ({ value, name: value }));

async function testCluster(ask: Ask, flags: WizardFlags): Promise<WizardPlan> {
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
