// SPDX-License-Identifier: Apache-2.0
import { once } from "node:events";
import { mkdir, writeFile } from "node:fs/promises";
import net from "node:net";
import path from "node:path";
import type { Writable } from "node:stream";
import { stringify } from "yaml";
import type { KubeClient } from "../../../lib/kube.ts";
import { connectKube } from "../../../lib/kube-connect.ts";
import { type ProgressStyle, runSteps, type Step } from "../../../lib/steps.ts";
import { waitFor } from "../../../lib/wait.ts";
import { applyClusterObjects, labelNodes } from "./bootstrap.ts";
import { deleteSandboxCluster } from "./delete.ts";
import { contextName, defaultKubeconfigFile, makeKubeconfig, mergeKubeconfig } from "./kubeconfig.ts";
import { checkMachine, requireLinuxRoot } from "./machine.ts";
import { switchCommands } from "./network.ts";
import { addService, bootSwitch, prepareNode, repoDir, serviceScript } from "./node/launch.ts";
import { installOldNetwork } from "./old-network/install.ts";
import { findAssets, readKubeletVersion } from "./parts.ts";
import { type ClusterPlan, controlPlane, planCluster, type SandboxOptions } from "./plan.ts";
import { createSecrets, type Secrets, writeFiles } from "./secrets.ts";
import { packNodeImages, startNode } from "./start-node.ts";
import { claimCluster, clusterDir, initPid, nodeDir, stateRoot, writePlan } from "./state.ts";

/** How creating tells of its progress and is interrupted. */
export interface SandboxHooks {
  out: Writable;
  style: ProgressStyle;
  signal?: AbortSignal;
  /** Leave what a failed creation made, to look into it. */
  retain?: boolean;
}

interface Creation {
  plan: ClusterPlan;
  env: Record<string, string | undefined>;
  signal: AbortSignal;
  archives: string[];
  secrets?: Secrets;
  imports?: Promise<unknown>;
  kube?: KubeClient;
}

/**
 * Creates a sandbox cluster and returns what it is made of. Its nodes are registered but not Ready: they have
 * no pod network yet. A creation that fails or is interrupted leaves nothing.
 */
export async function createSandboxCluster(
  options: SandboxOptions,
  hooks: SandboxHooks,
): Promise<ClusterPlan> {
  const kubeconfig = options.kubeconfig ?? defaultKubeconfigFile(options.env);
  const plan = planCluster(options, path.resolve(kubeconfig));
  await prepareMachine(options.env);
  const assets = findAssets(options.env.KUBEBUILDER_ASSETS);
  if (assets !== undefined) {
    await readKubeletVersion(assets);
    plan.assets = assets;
  }
  await claimCluster(plan.name);
  const signal = hooks.signal ?? new AbortController().signal;
  const creation: Creation = { plan, env: options.env, signal, archives: [] };
  try {
    await writePlan(plan);
    await runSteps(createSteps(plan), creation, { out: hooks.out, style: hooks.style, signal });
    signal.throwIfAborted();
  } catch (error) {
    creation.imports?.catch(() => {});
    if (hooks.retain !== true) await deleteSandboxCluster(plan.name, options.env);
    throw error;
  } finally {
    creation.kube?.close();
  }
  return plan;
}

async function prepareMachine(env: Record<string, string | undefined>): Promise<void> {
  requireLinuxRoot();
  await mkdir(stateRoot, { recursive: true, mode: 0o711 });
  checkMachine(stateRoot, env);
}

function createSteps(plan: ClusterPlan): Step<Creation>[] {
  return [
    { name: "images", title: "Pack images from this machine's files", run: packImages },
    { name: "secrets", title: "Make certificates and keys", run: makeSecrets },
    { name: "nodes", title: "Boot the nodes and the switch", run: bootNodes },
    { name: "control-plane", title: "Start the control plane", run: waitForApi },
    { name: "register", title: "Wait for the nodes to register", run: waitForNodes },
    { name: "import", title: "Import images on every node", run: finishImports },
    { name: "addons", title: "Deploy cluster DNS", run: deployAddons },
    ...(plan.cni === "none"
      ? []
      : [{ name: "network", title: `Start the ${plan.cni}-like pod network`, run: startNetwork }]),
    { name: "kubeconfig", title: "Write the kubeconfig", run: writeKubeconfig },
  ];
}

async function packImages(creation: Creation): Promise<string> {
  creation.archives = await packNodeImages(creation.plan, creation.env);
  return `${creation.archives.length} images`;
}

async function makeSecrets(creation: Creation): Promise<undefined> {
  creation.secrets = await createSecrets(creation.plan);
}

async function bootNodes(creation: Creation): Promise<string> {
  const { plan, signal } = creation;
  const switchPid = await startSwitch(creation);
  creation.imports = Promise.all(
    plan.nodes.map((node) => {
      const kubernetes = creation.secrets!.nodeFiles.get(node.name)!;
      return startNode(plan, node, { kubernetes, archives: creation.archives, switchPid, signal });
    }),
  );
  creation.imports.catch(() => {});
  await waitFor(
    "the nodes to boot",
    () => plan.nodes.every((node) => initPid(plan.name, node.name) !== undefined),
    { timeoutMs: 90_000, intervalMs: 20, signal },
  );
  return `${plan.nodes.length} nodes`;
}

/** The switch holds the API server's port on the machine, so a forwarder that ends is started again on it. */
async function startSwitch(creation: Creation): Promise<number> {
  const { plan, signal } = creation;
  const dir = await prepareNode(plan.name, "switch");
  await writeFile(path.join(dir, "switch.ip"), `${switchCommands().join("\n")}\n`);
  await writeFiles(dir, {
    "tls/tls.crt": creation.secrets!.internet.cert,
    "tls/tls.key": creation.secrets!.internet.key,
  });
  const listener = net.createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  plan.apiPort = (listener.address() as net.AddressInfo).port;
  await writePlan(plan);
  // Node has no public way to hand a listening socket to a child that is not Node's.
  const fd = (listener as unknown as { _handle: { fd: number } })._handle.fd;
  const pid = await bootSwitch(plan.name, fd, signal);
  listener.close();
  const part = [
    process.execPath,
    "--disable-warning=ExperimentalWarning",
    path.join(repoDir, "bin/sandbox-part.ts"),
  ];
  const tls = path.join(nodeDir(plan.name, "switch"), "tls");
  const target = [`--host=${controlPlane(plan).addresses[0]}`, "--port=6443"];
  await addService(plan.name, "switch", "forward", serviceScript([...part, "forward", "--fd=3", ...target]));
  const internet = ["internet", `--cert=${tls}/tls.crt`, `--key=${tls}/tls.key`];
  await addService(plan.name, "switch", "internet", serviceScript([...part, ...internet]));
  return pid;
}

async function waitForApi(creation: Creation): Promise<string> {
  const { plan, secrets } = creation;
  const server = `https://127.0.0.1:${plan.apiPort}`;
  const file = path.join(clusterDir(plan.name), "kubeconfig");
  const config = makeKubeconfig(contextName(plan.name), server, secrets!.ca.cert, secrets!.admin);
  await writeFile(file, stringify(config), { mode: 0o600 });
  creation.kube = await connectKube({ kubeconfig: file });
  await settled(creation, "the API server", async () => {
    await creation.kube!.request("GET", "/readyz", { timeoutMs: 2_000 });
    return (await creation.kube!.find("/api/v1/namespaces/kube-system")) !== undefined;
  });
  return server;
}

async function waitForNodes(creation: Creation): Promise<string> {
  const { plan, kube } = creation;
  await settled(creation, "the nodes to register", async () => {
    const nodes = await kube!.get<{ items: unknown[] }>("/api/v1/nodes");
    return nodes.items.length >= plan.nodes.length;
  });
  await labelNodes(kube!, plan);
  // A real controller manager hands them out seconds later, and no pod network installs before.
  await settled(creation, "the nodes to get their pod CIDRs", async () => {
    const nodes = await kube!.list("/api/v1/nodes");
    return nodes.items.every((node) => (node.spec?.podCIDRs ?? []).length > 0);
  });
  return `${plan.nodes.length} nodes`;
}

/** Waits for something of the cluster, but not when booting a node has failed meanwhile. */
async function settled(creation: Creation, what: string, check: () => Promise<boolean>): Promise<void> {
  let failure: unknown;
  creation.imports?.catch((error) => (failure = error));
  await waitFor(what, async () => failure !== undefined || (await check()), {
    timeoutMs: 120_000,
    intervalMs: 50,
    signal: creation.signal,
    remedy: `Try again with --retain and look into ${clusterDir(creation.plan.name)}/nodes/*/var/log.`,
  });
  if (failure !== undefined) throw failure;
}

async function finishImports(creation: Creation): Promise<undefined> {
  await creation.imports;
}

async function deployAddons(creation: Creation): Promise<string> {
  return await applyClusterObjects(creation.kube!, creation.plan);
}

async function startNetwork({ kube, plan, signal }: Creation): Promise<string> {
  return await installOldNetwork(kube!, plan, signal);
}

async function writeKubeconfig(creation: Creation): Promise<string> {
  const { plan, secrets } = creation;
  const server = `https://127.0.0.1:${plan.apiPort}`;
  const config = makeKubeconfig(contextName(plan.name), server, secrets!.ca.cert, secrets!.admin);
  await mergeKubeconfig(plan.kubeconfig, config);
  return `context ${contextName(plan.name)} in ${plan.kubeconfig}`;
}
