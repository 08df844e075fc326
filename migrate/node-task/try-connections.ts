// SPDX-License-Identifier: Apache-2.0
// Connections that pods could open, tried from within their network namespaces.
import type { Outcome, TriedConnection } from "../model/tools.ts";
import type { Host } from "./host.ts";

/** Where runtimes keep pods' network namespaces: containerd and CRI-O, and dockerd. */
const folders = ["/run/netns", "/run/docker/netns"];
const atOnce = 8;
/** Longer than the second of a SYN's first repetition. */
const answerMs = 2_500;

/** Opens TCP connections and closes them at once. In the order of what was asked for. */
export async function tryConnections(host: Host, wanted: readonly TriedConnection[]): Promise<Outcome[]> {
  const netns = await findNamespaces(host, new Set(wanted.map(({ from }) => from)));
  const outcomes: Outcome[] = wanted.map(() => "absent");
  const asked = wanted.map((connection, index) => ({ connection, index }));
  const rest = [...Map.groupBy(asked, ({ connection }) => netns.get(connection.from))].values();
  const work = async (): Promise<void> => {
    for (const [place, group] of rest) {
      if (place === undefined) continue;
      const connections = group.map(({ connection }) => connection);
      const found = await tryFrom(host, place, connections);
      for (const [at, { index }] of group.entries()) outcomes[index] = found[at] ?? "absent";
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return outcomes;
}

/** Paths of the namespaces that have these addresses. */
async function findNamespaces(host: Host, addresses: ReadonlySet<string>): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  const paths = folders.flatMap((folder) => host.list(folder).map((name) => host.path(`${folder}/${name}`)));
  const rest = paths.values();
  const work = async (): Promise<void> => {
    for (const path of rest) {
      const words = [`--net=${path}`, "--", "ip", "-json", "address", "show", "scope", "global"];
      const { exitCode, stdout } = await host.run("nsenter", words, { allowFailure: true });
      // It has gone meanwhile, or is no namespace at all.
      if (exitCode !== 0) continue;
      const links: any[] = JSON.parse(stdout.trim() === "" ? "[]" : stdout);
      for (const { addr_info: infos = [] } of links)
        for (const { local } of infos) if (addresses.has(local)) found.set(local, path);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return found;
}

/** Reads connections and prints what became of each; a program of its own, for it runs in the pod's network. */
const program = `
const { connect } = require("node:net");
const asked = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const refusals = { ECONNREFUSED: "refused", EHOSTUNREACH: "unreachable", ENETUNREACH: "unreachable", EACCES: "unreachable", EPERM: "unreachable" };
const ask = ({ from, to, port }) => new Promise((resolve) => {
  const socket = connect({ host: to, port, localAddress: from });
  const end = (outcome) => { socket.destroy(); resolve(outcome); };
  socket.once("connect", () => end("open"));
  socket.once("error", ({ code }) => end(refusals[code] ?? "silent"));
  socket.setTimeout(${answerMs}, () => end("silent"));
});
// Nobody has these addresses (RFC 5737, RFC 3849): who gets there got no further than a proxy.
const nowhere = (from) => ask({ from, to: from.includes(":") ? "2001:db8::1" : "192.0.2.1", port: 80 });
const intercepted = Object.fromEntries([...new Set(asked.map(({ from }) => from))].map((from) => [from, nowhere(from)]));
const one = async (connection) => {
  const [outcome, elsewhere] = await Promise.all([ask(connection), intercepted[connection.from]]);
  return elsewhere === "open" && connection.from !== connection.to ? "intercepted" : outcome;
};
Promise.all(asked.map(one)).then((outcomes) => console.log(JSON.stringify(outcomes)));
`;

async function tryFrom(
  host: Host,
  netns: string,
  connections: readonly TriedConnection[],
): Promise<Outcome[]> {
  const words = [`--net=${netns}`, "--", process.execPath, "-e", program];
  const { exitCode, stdout } = await host.run("nsenter", words, {
    input: JSON.stringify(connections),
    allowFailure: true,
  });
  return exitCode === 0 ? JSON.parse(stdout) : [];
}
