// SPDX-License-Identifier: Apache-2.0
import { defaultValues } from "../values.ts";
import type { Ask } from "./ask.ts";
import type { WizardFlags, WizardPlan } from "./flags.ts";
import type { ClusterLook } from "./look.ts";

/** Asks what an installation needs, and is not to be seen in the cluster. */
export async function planInstall(
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
