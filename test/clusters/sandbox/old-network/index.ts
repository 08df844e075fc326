// SPDX-License-Identifier: Apache-2.0
import { parseArgs } from "node:util";
import { UsageError } from "../../../../lib/errors.ts";
import { connectInCluster } from "../../../../lib/kube-connect.ts";
import { createLogger } from "../../../../lib/log.ts";
import type { DaemonContext } from "./follow-nodes.ts";

const daemons: Record<string, () => Promise<{ runDaemon(context: DaemonContext): Promise<void> }>> = {
  calico: () => import("./calico/daemon.ts"),
  "calico-install-cni": () => import("./calico/install-cni.ts"),
  flannel: () => import("./flannel/daemon.ts"),
  kindnet: () => import("./kindnet/daemon.ts"),
};

/** The node daemon of a pod network to migrate from, in its DaemonSet: `old-network --kind flannel`. */
export async function main(argv: string[]): Promise<number> {
  const { values } = parseArgs({ args: argv, options: { kind: { type: "string", default: "" } } });
  const load = daemons[values.kind];
  if (load === undefined) throw new UsageError(`Unknown --kind "${values.kind}"`);
  const { env } = process;
  if (env.NODE_NAME === undefined) throw new UsageError("NODE_NAME is not set");
  const stop = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) process.on(name, () => stop.abort(name));
  const log = createLogger().with({ part: values.kind });
  const context = { kube: connectInCluster(env), nodeName: env.NODE_NAME, env, log, signal: stop.signal };
  await (await load()).runDaemon(context);
  return 0;
}
