// SPDX-License-Identifier: Apache-2.0
// What services are compared with: two nodes with bridges and routes, and kube-proxy's rules on the client's node.
import { rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { run } from "../../lib/run.ts";
import { restoreInput } from "../clusters/sandbox/kube-proxy/iptables.ts";
import { iptablesRules, type RuleSettings } from "../clusters/sandbox/kube-proxy/iptables-rules.ts";
import { nftInput } from "../clusters/sandbox/kube-proxy/nft.ts";
import { nftRules } from "../clusters/sandbox/kube-proxy/nft-rules.ts";
import { type PortPlan, planPorts } from "../clusters/sandbox/kube-proxy/port-plan.ts";
import { Baselines, type MeasuredPath } from "./baselines.ts";
import type { MadeServices } from "./made-services.ts";

/** The ways in which kube-proxy's rules get into the kernel. */
export const ruleKinds = ["iptablesNft", "iptablesLegacy", "nftables"] as const;
export type RuleKind = (typeof ruleKinds)[number];

const programs: Record<RuleKind, string> = {
  iptablesNft: "iptables-nft-restore",
  iptablesLegacy: "iptables-legacy-restore",
  nftables: "nft",
};
const programTimeoutMs = 1_800_000;
/** A transaction of all takes a multiple of the time: nft's grows with the square of what is in one. */
const servicesPerTransaction = 500;

const settings: RuleSettings = {
  family: "ipv4",
  node: { name: "n1", zone: "", addresses: ["172.29.0.1"] },
  clusterCidr: "10.9.0.0/16",
  masqueradeAll: false,
  masqueradeBit: 14,
  localhostNodePorts: true,
};

/** Those whose program this machine has. */
export async function usableKinds(): Promise<RuleKind[]> {
  const found = await Promise.all(
    ruleKinds.map((kind) =>
      run(programs[kind], ["--version"], { allowFailure: true }).then(
        () => kind,
        () => undefined,
      ),
    ),
  );
  return found.filter((kind) => kind !== undefined);
}

/** Two nodes with kube-proxy's rules of one kind, and pods that are connected through them. */
export class KubeProxySide {
  readonly kind: RuleKind;
  readonly #baselines: Baselines;
  /** Not the lock under which the machine's own rules are written. */
  readonly #lockFile: string;
  #path: MeasuredPath | undefined;

  constructor(kind: RuleKind, prefix: string) {
    this.kind = kind;
    this.#baselines = new Baselines(prefix);
    this.#lockFile = path.join(os.tmpdir(), `${prefix}.lock`);
  }

  /** Addresses of the server's pod, `count` of them. */
  static backends(count: number): string[] {
    return Array.from({ length: count }, (_, index) => `10.9.2.${100 + index}`);
  }

  get path(): MeasuredPath {
    if (this.#path === undefined) throw new Error(`${this.kind} is not open`);
    return this.#path;
  }

  async open(backends: readonly string[]): Promise<void> {
    this.#path = await this.#baselines.bridges("plain");
    const lines = backends.map((address) => `address add ${address}/24 dev eth0`);
    await run("ip", ["-n", path.basename(this.path.server), "-batch", "-"], {
      input: `${lines.join("\n")}\n`,
    });
  }

  /** Writes the rules for these Services and nothing else; returns the milliseconds, without what was before. */
  async program({ services, slices }: MadeServices, signal: AbortSignal): Promise<number> {
    const plans = planPorts(services, slices, "ipv4", settings.node);
    await this.#clear(signal);
    const inputs =
      this.kind === "nftables"
        ? nftTransactions(plans, settings, servicesPerTransaction)
        : [restoreInput(iptablesRules(plans, settings), "")];
    const start = performance.now();
    for (const input of inputs) await this.#load(input, signal);
    return performance.now() - start;
  }

  async #clear(signal: AbortSignal): Promise<void> {
    const empty =
      this.kind === "nftables"
        ? "add table ip kube-proxy\ndelete table ip kube-proxy\n"
        : ["nat", "filter", "mangle"].map((table) => `*${table}\nCOMMIT\n`).join("");
    await this.#load(empty, signal);
  }

  async #load(input: string, signal: AbortSignal): Promise<void> {
    const words = this.kind === "nftables" ? ["-f", "-"] : [];
    // A bridge's pod is in a namespace named after its node's, with a p at the end.
    const node = this.path.client.replace(/p$/, "");
    await run("nsenter", [`--net=${node}`, programs[this.kind], ...words], {
      input,
      signal,
      timeoutMs: programTimeoutMs,
      env: { XTABLES_LOCKFILE: this.#lockFile },
    });
  }

  async close(): Promise<void> {
    await this.#baselines.close();
    rmSync(this.#lockFile, { force: true });
  }
}

/** What nft has to read, one transaction after the other: the table with the first Services, then more of them. */
export function nftTransactions(
  plans: readonly PortPlan[],
  ruleSettings: RuleSettings,
  plansPerTransaction: number,
): string[] {
  const base = new Set(nftRules([], ruleSettings).chains.keys());
  const inputs = [nftInput(nftRules(plans.slice(0, plansPerTransaction), ruleSettings), undefined)];
  for (let first = plansPerTransaction; first < plans.length; first += plansPerTransaction) {
    const table = nftRules(plans.slice(first, first + plansPerTransaction), ruleSettings);
    for (const name of base) table.chains.delete(name);
    inputs.push(nftInput(table, { chains: new Set(), sets: new Map() }));
  }
  return inputs;
}
