// SPDX-License-Identifier: Apache-2.0
import { writeFile } from "node:fs/promises";
import type { Family } from "../../../../lib/addresses.ts";
import { errorMessage } from "../../../../lib/errors.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import type { Logger } from "../../../../lib/log.ts";
import { sleep } from "../../../../lib/wait.ts";
import type { ProxyConfiguration } from "./configuration.ts";
import { forgetStaleUdp } from "./conntrack.ts";
import { ServiceHealth, type SyncState } from "./health.ts";
import { applyIptables } from "./iptables.ts";
import { iptablesRules, type RuleSettings } from "./iptables-rules.ts";
import { applyNft, type NftNames } from "./nft.ts";
import { nftRules } from "./nft-rules.ts";
import { type PortPlan, type ProxyNode, planPorts } from "./port-plan.ts";

/** What the rules are made from, as of now. */
export interface ProxyInput {
  services: KubeObject[];
  slices: KubeObject[];
  node: ProxyNode;
}

/** Keeps a node's rules in step with Services and EndpointSlices. */
export class Proxier {
  readonly state: SyncState = { lastSyncAt: undefined, pendingSince: undefined, syncs: 0, failures: 0 };
  readonly #config: ProxyConfiguration;
  readonly #families: Family[];
  readonly #read: () => ProxyInput;
  readonly #log: Logger;
  readonly #serviceHealth: ServiceHealth;
  readonly #nftNames = new Map<Family, NftNames>();
  #wake = (): void => {};

  constructor(config: ProxyConfiguration, families: Family[], read: () => ProxyInput, log: Logger) {
    this.#config = config;
    this.#families = families;
    this.#read = read;
    this.#log = log;
    this.#serviceHealth = new ServiceHealth(log);
  }

  /** Something has changed: rules are written as soon as the shortest period between two writes allows. */
  changed(): void {
    this.state.pendingSince ??= new Date();
    this.#wake();
  }

  /** Writes rules until the signal aborts. Failures are logged and tried again. They stay when it ends. */
  async run(signal: AbortSignal): Promise<void> {
    if (
      this.#config.mode === "iptables" &&
      this.#config.localhostNodePorts &&
      this.#families.includes("ipv4")
    )
      await writeFile("/proc/sys/net/ipv4/conf/all/route_localnet", "1");
    while (!signal.aborted) {
      const startedAt = Date.now();
      const { pendingSince } = this.state;
      // Cleared first: what changes while rules are written waits for the next write.
      this.state.pendingSince = undefined;
      try {
        await this.#sync();
        this.state.lastSyncAt = new Date();
      } catch (error) {
        this.state.failures++;
        this.state.pendingSince = pendingSince ?? new Date();
        this.#log.error("rules not written", { error: errorMessage(error) });
      }
      this.state.syncs++;
      const pause = this.#config.minSyncPeriodMs - (Date.now() - startedAt);
      if (pause > 0) await sleep(pause, signal).catch(() => undefined);
      if (this.state.pendingSince === undefined) await this.#untilChanged(signal);
    }
  }

  async #untilChanged(signal: AbortSignal): Promise<void> {
    const stop = new AbortController();
    this.#wake = () => stop.abort();
    await sleep(this.#config.syncPeriodMs, AbortSignal.any([signal, stop.signal])).catch(() => undefined);
    this.#wake = () => {};
  }

  async #sync(): Promise<void> {
    const { services, slices, node } = this.#read();
    const all: PortPlan[] = [];
    for (const family of this.#families) {
      const plans = planPorts(services, slices, family, node);
      all.push(...plans);
      await this.#write(plans, family, node);
      await this.#forget(plans, family, node);
    }
    // A packet that met the rules of before may have been tracked only after the first look.
    await sleep(100);
    for (const family of this.#families)
      await this.#forget(planPorts(services, slices, family, node), family, node);
    this.#serviceHealth.update(all);
  }

  async #forget(plans: PortPlan[], family: Family, node: ProxyNode): Promise<void> {
    const forgotten = await forgetStaleUdp(plans, family, node);
    if (forgotten > 0) this.#log.info("forgot UDP connections", { family, forgotten });
  }

  async #write(plans: PortPlan[], family: Family, node: ProxyNode): Promise<void> {
    const { mode, clusterCidrs, masqueradeAll, masqueradeBit, localhostNodePorts } = this.#config;
    const clusterCidr = clusterCidrs[family];
    const settings: RuleSettings = {
      ...{ family, node, clusterCidr, masqueradeAll, masqueradeBit, localhostNodePorts },
    };
    if (mode === "iptables") return await applyIptables(family, iptablesRules(plans, settings));
    const before = this.#nftNames.get(family);
    // A table that others have changed is started anew by the next attempt.
    this.#nftNames.delete(family);
    this.#nftNames.set(family, await applyNft(nftRules(plans, settings), before));
  }
}
