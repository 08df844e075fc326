// SPDX-License-Identifier: Apache-2.0
import { Coalesced } from "../agent/coalesce.ts";
import { openLab } from "../agent/datapath-lab.ts";
import { maps as mapNames } from "../agent/datapath-layout.ts";
import { relevantLabels, usualLabels } from "../agent/policy/identity.ts";
import { podLabels } from "../agent/policy/labels.ts";
import type { PolicyInformers } from "../agent/policy/policy-controller.ts";
import { fuzzNames, fuzzPolicies } from "../agent/policy/policy-fuzz.ts";
import { PolicyLab } from "../agent/policy/policy-lab.ts";
import { ServiceController } from "../agent/service-controller.ts";
import { serviceGroups } from "../agent/service-model.ts";
import { forgetMostOfSlice } from "../agent/service-slices.ts";
import { ServiceTable } from "../agent/service-table.ts";
import type { Informer } from "../lib/kube-informer.ts";
import type { KubeObject } from "../lib/kube-object.ts";
import { createLogger } from "../lib/log.ts";
import type { PolicyParts, ServiceMaps, ServiceParts, ServiceSources } from "../test/bench/bench.ts";
import { main } from "../test/bench/index.ts";

const log = createLogger(() => undefined);
/** What the bench `services` needs of the agent. */
const services: ServiceParts = {
  maps: (lab, node) => {
    const map = (name: keyof ServiceMaps) => lab.map(node, mapNames[name]);
    return {
      services: map("services"),
      backends: map("backends"),
      maglev: map("maglev"),
      members: map("members"),
      sourceRanges: map("sourceRanges"),
      nat: map("nat"),
      socketNat: map("socketNat"),
    };
  },
  prepare: (services, slices, maps) => {
    const slicesOf = Map.groupBy(slices, ({ metadata }) => metadata.labels?.["kubernetes.io/service-name"]);
    const of = (service: KubeObject) => slicesOf.get(service.metadata.name) ?? [];
    const groups = services.flatMap((service) => serviceGroups(service, of(service), { nodeName: "n1" }));
    const table = new ServiceTable(maps);
    return () => table.apply(groups);
  },
  clear: (maps) => {
    const table = new ServiceTable(maps);
    table.inherit();
    table.prune();
  },
  control: ({ sources, maps, nodeName, onDirty }) => {
    const informers = sources as unknown as Record<keyof ServiceSources, Informer>;
    const controller = new ServiceController({ informers, nodeName, log, onDirty });
    controller.setMaps(maps);
    return controller;
  },
  forgetMostOfSlice,
  coalesced: (work, onError) =>
    new Coalesced("services", work, { log, onError: (_name, error) => onError(error) }),
  memoryProcess,
};

/** What the bench `policy` needs of the agent. */
const policies: PolicyParts = {
  node: ({ sources, ...others }) =>
    new PolicyLab({ ...others, informers: sources as unknown as PolicyInformers }),
  labelsOf: (pod, namespace) =>
    Object.fromEntries(relevantLabels(podLabels(pod, namespace), new Set(), usualLabels([]))),
  coalesced: (work, onError) =>
    new Coalesced("policies", work, { log, onError: (_name, error) => onError(error) }),
  fuzzNames,
  fuzz: fuzzPolicies,
};

/** The agent's command line with this program in its place, and its environment, as the DaemonSet has them. */
async function memoryProcess(): ReturnType<ServiceParts["memoryProcess"]> {
  const { oneShotDaemonSet } = await import("../installer/manifests.ts");
  const { defaultValues } = await import("../installer/values.ts");
  const { command, env } = oneShotDaemonSet("", defaultValues, []).spec.template.spec.initContainers[0];
  const flags = command.slice(1).filter((word: string) => word.startsWith("--"));
  const plain = env.filter(({ value }: { value?: string }) => value !== undefined);
  return {
    command: [process.execPath, ...flags, import.meta.filename, "services-memory"],
    env: Object.fromEntries(plain.map(({ name, value }: { name: string; value: string }) => [name, value])),
  };
}

// `bench.ts cni-node ROUNDS` and `bench.ts services-memory FOLDER` are this program again: inside the node that the
// bench `cni` makes, and as the process whose memory the bench `services` measures.
const [first, argument = ""] = process.argv.slice(2);
if (first === "cni-node") {
  const { customResourceDefinitions } = await import("../installer/manifests.ts");
  const { measureCni } = await import("../test/bench/cni-node.ts");
  process.stdout.write(JSON.stringify(await measureCni(Number(argument), customResourceDefinitions())));
  process.exit(0);
}
if (first === "services-memory") {
  await import("../agent/daemon.ts"); // all that the agent has loaded
  const { Datapath } = await import("../agent/datapath.ts");
  const { buildFile } = await import("../agent/paths.ts");
  const { holdServices } = await import("../test/bench/service-memory.ts");
  const result = await holdServices(argument, services, (pinFolder) => {
    const datapath = new Datapath({ pinFolder, objectFolder: buildFile("bpf"), log });
    datapath.load({});
    return datapath.serviceMaps;
  });
  process.stdout.write(JSON.stringify(result));
  process.exit(0);
}
const stop = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const)
  process.on(name, () => (stop.signal.aborted ? process.exit(130) : stop.abort(name)));
const cniNode = [process.execPath, import.meta.filename, "cni-node"];
const { stdout, stderr } = process;
const streams = { stdout, stderr, signal: stop.signal };
process.exit(await main(process.argv.slice(2), { openLab, cniNode, services, policies }, streams));
