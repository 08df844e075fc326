// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { run } from "../../lib/run.ts";
import { waitFor } from "../../lib/wait.ts";
import { nodeCommand, nodeExec } from "../clusters/index.ts";
import type { Question, Reply } from "../connectivity/service-client.ts";
import type { ClusterUnderTest } from "./cluster-under-test.ts";
import {
  balancerStatus,
  type Clients,
  type Family,
  outsideRoutes,
  pods,
  rows,
  services,
  slices,
  type Vantage,
  vantages,
} from "./service-rows.ts";

const families = ["ipv4", "ipv6"] as const;
const here = (file: string): string => new URL(file, import.meta.url).pathname;
const isOfFamily = (address: string, family: Family): boolean =>
  address.includes(":") === (family === "ipv6");

/** What was seen of a row, by where the client was: empty when it works. */
export type Findings = Map<string, Map<Vantage, string>>;

/** A cluster of two workers with the objects of every row. */
export class ServiceWorld implements Clients {
  readonly cluster: ClusterUnderTest;
  readonly #nodes: { node: string; "other node": string; third: string };
  readonly #objects = new Map<string, any>();

  constructor(cluster: ClusterUnderTest) {
    const { name } = cluster;
    this.cluster = cluster;
    this.#nodes = { node: `${name}-worker`, "other node": `${name}-worker2`, third: `${name}-control-plane` };
  }

  async deploy(): Promise<void> {
    const { cluster } = this;
    const file = (path: string) => readFileSync(here(path), "utf8");
    const data = {
      "service-client.ts": file("../connectivity/service-client.ts"),
      "dial.ts": file("../connectivity/dial.ts"),
      "dns-query.ts": file("../connectivity/dns-query.ts"),
      "reach.ts": file("../connectivity/reach.ts"),
      "echo-server.ts": file("../connectivity/echo-server.ts"),
      "package.json": '{ "type": "module" }\n',
    };
    for (const [node, zone] of [
      [this.#nodes.node, "zone-a"],
      [this.#nodes["other node"], "zone-b"],
    ] as const)
      await cluster.kubectl(["label", "node", node, `topology.kubernetes.io/zone=${zone}`]);
    await cluster.apply(
      { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "code" }, data },
      ...pods(this.#nodes),
      ...services,
    );
    for (const [service, addresses] of Object.entries(balancerStatus)) {
      const ingress = Object.values(addresses).map((ip) => ({ ip }));
      const patch = JSON.stringify({ status: { loadBalancer: { ingress } } });
      await this.kubectl("patch", "service", service, "--subresource=status", "--type=merge", "-p", patch);
    }
    await waitFor("the pods", () => this.#arePodsThere(), { timeoutMs: 120_000, intervalMs: 500 });
    await this.read();
    await cluster.apply(...slices((pod, family) => this.podAddress(pod, family), this.#nodes));
    for (const family of families) {
      const words = family === "ipv4" ? [] : ["-6"];
      const via = this.nodeAddress("node", family);
      await nodeExec(this.cluster.name, "switch", [
        "ip",
        ...words,
        "route",
        "replace",
        outsideRoutes[family],
        "via",
        via,
      ]);
    }
    const asked = async () => {
      const found: (string | undefined)[] = [];
      for (const vantage of vantages) found.push(await rows[1]!.check(this, vantage, "ipv6"));
      return found.every((problem) => problem === undefined);
    };
    await waitFor("the first answers", asked, { timeoutMs: 60_000, intervalMs: 500 });
  }

  async #arePodsThere(): Promise<boolean> {
    const { items } = await this.cluster.get("pods");
    return items.every(
      ({ metadata, status }: any) =>
        status.phase === "Running" &&
        status.podIPs?.length === 2 &&
        (metadata.name === "unready" || status.containerStatuses?.[0]?.ready === true),
    );
  }

  async read(): Promise<void> {
    for (const kind of ["pods", "services", "nodes"])
      for (const item of (await this.cluster.get(kind)).items)
        this.#objects.set(`${kind} ${item.metadata.name}`, item);
  }

  #get(kind: string, object: string): any {
    const found = this.#objects.get(`${kind} ${object}`);
    assert.ok(found, `${kind} ${object}`);
    return found;
  }

  clusterIP(service: string, family: Family): string {
    return this.#get("services", service).spec.clusterIPs.find((ip: string) => isOfFamily(ip, family));
  }
  nodePort(service: string, port = "tcp"): number {
    return this.#get("services", service).spec.ports.find((one: any) => one.name === port).nodePort;
  }
  nodeAddress(node: "node" | "other node", family: Family): string {
    return this.#get("nodes", this.#nodes[node]).status.addresses.find(
      ({ type, address }: any) => type === "InternalIP" && isOfFamily(address, family),
    ).address;
  }
  podAddress(pod: string, family: Family): string {
    return this.#get("pods", pod).status.podIPs.find(({ ip }: any) => isOfFamily(ip, family)).ip;
  }
  outsideAddress(family: Family): string {
    return family === "ipv4" ? "172.30.0.1" : "fd30::1";
  }

  ask = async (vantage: Vantage, questions: Question[]): Promise<Reply[]> => {
    const words = JSON.stringify(questions);
    const pod = { pod: "client", node: "host-node", "other node": "host-other" }[vantage as "pod"];
    const inPod = ["exec", pod, "--", "node", "/etc/shunt-test/service-client.ts", words];
    const options = { timeoutMs: 90_000, allowFailure: true };
    const [file, ...args] = nodeCommand(this.cluster.name, "switch", [
      process.execPath,
      here("../connectivity/service-client.ts"),
      words,
    ]);
    const result =
      vantage === "outside" ? await run(file!, args, options) : await this.cluster.kubectl(inPod, options);
    assert.equal(result.exitCode, 0, result.stderr);
    return result.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
  };

  async kubectl(...args: string[]): Promise<string> {
    return (await this.cluster.kubectl(args)).stdout;
  }

  /** Asks for every row, from everywhere, in both families. */
  async walk(only = ""): Promise<Findings> {
    const findings: Findings = new Map();
    const work: (() => Promise<void>)[] = [];
    for (const row of rows.filter(({ feature }) => feature.includes(only))) {
      const found = new Map<Vantage, string>();
      findings.set(row.feature, found);
      for (const vantage of row.from ?? vantages)
        work.push(async () => {
          const problems: string[] = [];
          for (const family of families) {
            const problem = await row
              .check(this, vantage, family)
              .catch((error) => String(error).slice(0, 300));
            if (problem !== undefined) problems.push(`${family}: ${problem}`);
          }
          found.set(vantage, problems.join("; "));
        });
    }
    const lanes = Array.from({ length: 4 }, async () => {
      for (let next = work.shift(); next !== undefined; next = work.shift()) await next();
    });
    await Promise.all(lanes);
    return findings;
  }
}
