// SPDX-License-Identifier: Apache-2.0
import { Writable } from "node:stream";
import { ShuntError } from "../../lib/errors.ts";
import type { KubeClient } from "../../lib/kube.ts";
import type { Monitor, VerifyConnectivity } from "../../migrate/model/tools.ts";
import type { StepTools } from "../../migrate/step-kind.ts";
import type { CliEnv } from "./env.ts";
import { type CutOverFlags, newClusterTool } from "./migrate-compare.ts";
import { type ProviderFlags, providerFinder } from "./migrate-provider.ts";
import { nodeFigures } from "./node-figures.ts";

interface ToolFlags extends ProviderFlags, CutOverFlags {
  probes: boolean;
  probeRate?: number;
  allowLost: number;
  connectivityTest: boolean;
  acceptPolicyDifferences?: boolean;
}

/** What the steps of a migration are handed: node tasks, probes, the connectivity test. */
export async function migrationTools(
  env: CliEnv,
  kube: KubeClient,
  flags: ToolFlags,
): Promise<{ tools: StepTools; monitor: Monitor | undefined; close: () => void }> {
  const { createNodeTask } = await import("../../migrate/node-task/index.ts");
  const provider = providerFinder(env, kube, flags);
  const newCluster = await newClusterTool(kube, flags);
  const nodeTask = createNodeTask(kube);
  const tools: StepTools = {
    ...(newCluster === undefined ? {} : { newCluster }),
    nodeTask,
    provider: provider.find,
  };
  if (flags.connectivityTest) {
    const { comparePolicies, nodeMs } = await import("./policy-compare.ts");
    const tryingTask = createNodeTask(kube, { timeoutMs: nodeMs });
    tools.verifyConnectivity = verifyConnectivity(env, kube, flags.probes);
    tools.policies = {
      compare: (options) => comparePolicies(kube, tryingTask, options),
      acceptDifferences: flags.acceptPolicyDifferences === true,
    };
  }
  const { close } = provider;
  if (!flags.probes) return { tools, monitor: undefined, close };
  const probes = await import("../../migrate/probes/index.ts");
  tools.probes = probes.probeControl(kube, {
    ...(flags.probeRate === undefined ? {} : { totalRate: flags.probeRate }),
    figures: (signal) => nodeFigures(kube, tools.nodeTask, signal),
  });
  // What was lost before this operator came was seen by the one before it, or by who resumes.
  const before = await probes.readProbes(kube, env.signal).catch(() => undefined);
  const known = (before?.probes.lost ?? 0) + (before?.longConnections.broken ?? 0);
  return { tools, monitor: probes.probeMonitor(kube, env.signal, known + flags.allowLost), close };
}

/** What a switch of networks can break. */
const betweenNetworks = [
  "^no-policies/(pod-to-pod|pod-to-pod-udp|pod-to-host|host-to-pod)$",
  "^services/(pod-to-service|pod-to-service-udp|pod-to-service-by-name)$",
  "^no-policies-extra/pod-to-remote-nodeport$",
];
/** Between two nodes that have moved, what is new is the overlay. */
const withinNetwork = ["^no-policies/(pod-to-pod|pod-to-pod-udp)$"];

/**
 * Runs the connectivity suite between the node and one old and one switched node, whichever there are. Probes ask
 * between switched nodes all the time: while they run, an old node alone is enough.
 */
function verifyConnectivity(env: CliEnv, kube: KubeClient, probes: boolean): VerifyConnectivity {
  return async ({ node, old, switched }, { signal, report }) => {
    const suite = await import("../../test/connectivity/index.ts");
    const wanted = probes && old !== undefined ? [old] : [old, switched];
    const partners = wanted.filter((name): name is string => name !== undefined);
    const out = new Writable({
      write(chunk, _encoding, done) {
        report(String(chunk).trim());
        done();
      },
    });
    for (const [index, partner] of (partners.length === 0 ? [undefined] : partners).entries()) {
      const options = {
        ...suite.defaultOptions(),
        tests: index === 0 ? betweenNetworks : withinNetwork,
        namespace: `shunt-verify-${node}`.slice(0, 50).replace(/[^a-z0-9]+$/, ""),
        nodes: partner === undefined ? [node] : [node, partner],
        tolerations: [{ operator: "Exists" as const }],
        singleNode: partner === undefined,
        otherNetworkMayMasquerade: true,
      };
      const io = { style: "silent" as const, out, stdin: env.stdin, signal };
      const result = await suite.runConnectivityTest(kube, options, io);
      if (suite.exitCodeOf(result) !== 0)
        throw new ShuntError(
          `connections between node ${node} and ${partner ?? "itself"} fail\n${suite.formatReport(result, options)}`,
          {
            code: "ConnectivityFailed",
            remedy: `Look at both nodes with shunt status, then resume; or go back with: shunt migrate rollback --node ${node}`,
          },
        );
      report(`connections with ${partner ?? "itself"} work`);
    }
    return partners.length === 0
      ? "its own pods reach each other"
      : `reached and was reached by ${partners.join(", ")}`;
  };
}
