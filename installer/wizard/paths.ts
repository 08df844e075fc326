// SPDX-License-Identifier: Apache-2.0
import { UsageError } from "../../lib/errors.ts";
import type { Ask, Choice } from "./ask.ts";
import { paths, type WizardFlags, type WizardPath, type WizardPlan } from "./flags.ts";
import { planInstall } from "./install-path.ts";
import type { ClusterLook } from "./look.ts";
import { planMigration } from "./migrate-path.ts";
import { planTestCluster } from "./test-cluster-path.ts";

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
  if (path === "test-cluster") return await planTestCluster(ask, flags);
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
    path === "install"
      ? await planInstall(ask, flags, look, target)
      : await planMigration(ask, flags, look, target);
  const wantsTest =
    flags.test ?? (await ask.confirm({ message: "Test the connectivity at the end?", preset: true }));
  return wantsTest ? { ...plan, run: [...plan.run, test] } : plan;
}
