// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../lib/errors.ts";
import type { KubeClient } from "../../lib/kube.ts";
import type { Plan } from "../../migrate/model/plan.ts";
import type { FindProvider } from "../../migrate/model/tools.ts";
import type { SandboxNodes } from "../../migrate/providers/index.ts";
import type { StepTools } from "../../migrate/step-kind.ts";
import type { CliEnv } from "./env.ts";

/** Where a provider finds what the operator's machine has. */
export interface ProviderFlags {
  providerKubeconfig?: string;
  providerContext?: string;
}

/** Finds providers by name; what one needs of this machine is made when it is asked for. `close` ends connections. */
export function providerFinder(
  env: CliEnv,
  kube: KubeClient,
  flags: ProviderFlags,
): { find: FindProvider; close: () => void } {
  const opened: KubeClient[] = [];
  const find: FindProvider = async (name, options) => {
    const { createProvider, parseProviderOptions, providerNames } = await import(
      "../../migrate/providers/index.ts"
    );
    const { run } = await import("../../lib/run.ts");
    const provider = createProvider(name, {
      kube,
      ...(await managementOf(flags, opened)),
      options: parseProviderOptions(options),
      say: (message) => void env.stdout.write(`${message}\n`),
      run,
      ...(name === "sandbox" ? { sandbox: await sandboxNodes(env) } : {}),
    });
    if (provider !== undefined) return provider;
    throw new ShuntError(`There is no provider "${name}" for node groups`, {
      code: "Usage",
      exitCode: 2,
      remedy: `Use one of ${providerNames.join(", ")}.`,
    });
  };
  const known = new Map<string, ReturnType<FindProvider>>();
  return {
    find(name, options) {
      const key = JSON.stringify([name, ...options]);
      const found = known.get(key) ?? find(name, options);
      known.set(key, found);
      return found;
    },
    close: () => opened.forEach((client) => void client.close()),
  };
}

async function managementOf(
  flags: ProviderFlags,
  opened: KubeClient[],
): Promise<{ management?: KubeClient }> {
  const { providerKubeconfig: kubeconfig, providerContext: context } = flags;
  if (kubeconfig === undefined && context === undefined) return {};
  const { connectKube } = await import("../../lib/kube-connect.ts");
  const management = await connectKube({ kubeconfig, context });
  opened.push(management);
  return { management };
}

/** Refuses a plan whose provider cannot work here, before anything is changed. */
export async function requireProvider(plan: Plan, tools: StepTools): Promise<void> {
  const { strategy, provider: name, providerOptions = [] } = plan.options;
  if (strategy !== "blue-green") return;
  const provider = await tools.provider?.(name, providerOptions);
  const old = plan.basis.nodes.filter(({ roles }) => !roles.includes("control-plane"));
  const why = await provider?.check(old.map((node) => node.name));
  if (why === undefined) return;
  throw new ShuntError(`Provider ${name} cannot be used: ${why}`, {
    code: "Blocked",
    exitCode: 3,
    remedy: "Nothing was changed. With --provider manual you add and remove the nodes yourself.",
  });
}

async function sandboxNodes(env: CliEnv): Promise<SandboxNodes> {
  const { addSandboxNodes, listSandboxClusters, readPlan, removeSandboxNode } = await import(
    "../../test/clusters/index.ts"
  );
  return {
    clusterAt: (server) => listSandboxClusters().find((cluster) => cluster.server === server)?.name,
    add: ({ cluster: name, group, count, taint, signal }) =>
      addSandboxNodes({ name, group, count, taints: [taint], env: env.env, signal, report: () => undefined }),
    async remove({ cluster, node, signal }) {
      await removeSandboxNode(cluster, node, signal);
    },
    members: (cluster, group) =>
      (readPlan(cluster)?.nodes ?? []).filter((node) => node.group === group).map(({ name }) => name),
  };
}
