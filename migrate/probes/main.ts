// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { connectInCluster } from "../../lib/kube-connect.ts";
import { Informer } from "../../lib/kube-informer.ts";
import { createLogger, type Logger } from "../../lib/log.ts";
import { sleep } from "../../lib/wait.ts";
import { nameOf, type ProbeRole, probeNamespace } from "./names.ts";
import { Peers } from "./peers.ts";
import type { NodeResults } from "./results.ts";
import { Sender, type SenderSettings } from "./sender.ts";
import { hostPorts, ProbeServer, ports } from "./server.ts";
import { ResultStore } from "./store.ts";
import { Tally } from "./tally.ts";

/** What the DaemonSet tells each pod by its environment. */
export interface ProbeSettings {
  role: ProbeRole;
  node: string;
  uid: string;
  run: string;
  resultsDir: string;
  peerLimit: number;
  /** How long it goes on answering after it was told to go, in milliseconds. */
  lingerMs: number;
  sender: SenderSettings;
}

/** Reads the settings that `startProbes` wrote. */
export function readSettings(env: Record<string, string | undefined>, resolvConf: string): ProbeSettings {
  const given = JSON.parse(env.PROBE_SETTINGS ?? "{}");
  const nameserver = /^\s*nameserver\s+(\S+)/m.exec(resolvConf)?.[1] ?? "127.0.0.1";
  const role: ProbeRole = given.role === "host" ? "host" : "pod";
  const podPorts = role === "host" ? hostPorts : ports;
  return {
    role,
    node: env.NODE_NAME ?? "",
    uid: env.POD_UID ?? "",
    run: given.run,
    resultsDir: "/results",
    peerLimit: given.peerLimit,
    lingerMs: given.lingerMs,
    sender: { ...given.sender, role, podPorts, dnsServer: { address: nameserver, port: 53 } },
  };
}

/** A probe pod: answers others, asks others all the time, and keeps count. Returns the exit code. */
export async function main(
  env: Record<string, string | undefined>,
  signal: AbortSignal,
  log: Logger = createLogger(),
): Promise<number> {
  const settings = readSettings(env, readFileSync("/etc/resolv.conf", "utf8"));
  // One monotonic clock that agrees with the wall clock at the start; the reader knows the offset by asking.
  const now = (): number => performance.timeOrigin + performance.now();
  const id = `${settings.uid}-${Math.round(now())}`;
  const store = new ResultStore(settings.resultsDir, settings.run, id);
  const place = settings.role === "host" ? `${settings.node} (host)` : settings.node;
  const tally = new Tally(place, id, now);
  let state: NodeResults["state"] = "running";
  const peers = new Peers(settings.uid, settings.peerLimit, ({ node }) => {
    tally.pause(node);
    sender.refresh();
  });
  let begun = store.earlier.length > 0;
  const onBye = (uid: string): void => peers.leave(uid);
  const host = { tally, now, isLeaving: (uid: string) => peers.isLeaving(uid), onBye };
  const sender = new Sender(settings.sender, peers, host, {
    name: settings.uid.slice(0, 8),
    isFirst: store.earlier.length === 0,
  });
  const stopSending = async (why: "moved" | "stopped"): Promise<void> => {
    if (state !== "running") return;
    state = why === "moved" ? "leaving" : "stopped";
    await sender.stop(why);
    store.save(tally.results(true));
  };
  const server = new ProbeServer(
    { node: place, uid: settings.uid },
    {
      "GET /results": (): NodeResults => ({
        ...{
          node: settings.node,
          role: settings.role,
          nowMs: now(),
          state,
          peers: peers.total,
          counting: sender.isCounting,
          begun,
        },
        results: [...store.earlier, tally.results(state !== "running")],
      }),
      [`POST /${settings.run}/begin`]: () => {
        if (!begun) tally.restart();
        begun = true;
        return { state };
      },
      // Kubernetes' names of nodes need no escaping in a URL.
      [`POST /${settings.run}/node-leaves/`]: (node) => {
        if (node === settings.node) {
          server.leave();
          void stopSending("moved");
        } else sender.leaveNode(peers.leaveNode(node));
        return { state };
      },
      [`POST /${settings.run}/stop`]: () => {
        void stopSending("stopped");
        return { state };
      },
      [`POST /${settings.run}/clear`]: () => {
        if (state === "stopped") store.clear();
        return { state };
      },
    },
  );
  await server.listen(settings.sender.podPorts);
  const kube = connectInCluster(env);
  const path = `/api/v1/namespaces/${probeNamespace}/pods`;
  const pods = new Informer(kube, path, log, {
    labelSelector: `app.kubernetes.io/name=${nameOf[settings.role]}`,
  });
  const watching = new AbortController();
  pods.onChange(({ type, object }) => {
    peers.update(object, type === "deleted");
    sender.refresh();
  });
  void pods.run(watching.signal);
  server.isReady = true;
  sender.start();
  log.info("probing", { node: settings.node, earlier: store.earlier.length });
  while (!signal.aborted) {
    if (state === "running") store.save(tally.results(false));
    await sleep(1_000, signal).catch(() => undefined);
  }
  // Others stop asking this pod when they hear of it, whichever way first; until then they get answers.
  server.leave();
  await stopSending("moved");
  await sleep(settings.lingerMs);
  watching.abort();
  return 0;
}
