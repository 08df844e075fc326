// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { hostPort } from "../../lib/addresses.ts";
import { sleep, waitFor } from "../../lib/wait.ts";
import { nodeExec } from "../clusters/index.ts";
import { agentMemoryMiB, agentStatus, agentTraces, podResources } from "./agent-node-state.ts";
import { ClusterUnderTest, idlePod, image } from "./cluster-under-test.ts";
import { type LoadResult, loadProgram } from "./load.ts";

let cluster: ClusterUnderTest;
const name = "e2e-agent";
const nodes = [`${name}-control-plane`, `${name}-worker`, `${name}-worker2`];
const worker = nodes[1]!;
const traces = (node: string) => agentTraces(name, node);

/** What the API server says that the worker has to have: pods with addresses, and addresses of Services. */
async function expectedOnWorker(): Promise<{ pods: number; frontends: number }> {
  const pods = await cluster.get("pod", "-A", `--field-selector=spec.nodeName=${worker}`);
  const services = await cluster.get("service", "-A");
  return {
    pods: pods.items.filter((pod: any) => pod.spec.hostNetwork !== true).length,
    frontends: services.items
      .map(
        ({ spec }: any) => spec.clusterIPs.filter((ip: string) => ip !== "None").length * spec.ports.length,
      )
      .reduce((sum: number, count: number) => sum + count, 0),
  };
}

/** Waits until the assertions hold; names the one that does not at the deadline. */
const settlesAs = (what: string, assertions: () => Promise<void>) =>
  waitFor(what, () => assertions().then(() => true), { timeoutMs: 60_000, intervalMs: 1_000 });

describe("the agent on a dual-stack cluster of three nodes", () => {
  let clean: string[][];
  before(async () => {
    cluster = await ClusterUnderTest.create(name, ["--workers", "2", "--ip-family", "dual"]);
    // One node that does not forward yet, to see that it does not after the agent either.
    const off = ["sysctl", "-w", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0"];
    await nodeExec(name, nodes[2]!, off);
    clean = await Promise.all(nodes.map(traces));
  });
  after(async () => await cluster?.delete());

  test("a dry run changes nothing", async () => {
    const before = await cluster.kubectl(["get", "all,cm,sa,crd", "-A", "-o", "name"]);
    const plan = await cluster.shunt(["install", "--dry-run"]);
    assert.match(plan.stdout, /Nothing was changed/);
    const after = await cluster.kubectl(["get", "all,cm,sa,crd", "-A", "-o", "name"]);
    assert.equal(after.stdout, before.stdout);
  });

  test("an interrupted installation is finished by the next, and a third changes nothing", async () => {
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 2_500);
    await assert.rejects(cluster.shunt(["install", "--yes"], { signal: abort.signal }));
    const second = await cluster.shunt(["install", "--yes", "-o", "json"], { timeoutMs: 240_000 });
    const events = second.stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    assert.equal(events.at(-1).step, "verify");
    assert.equal(events.at(-1).event, "done");
    const agent = await cluster.get("-n", "kube-system", "ds", "shunt-agent");
    await cluster.shunt(["install", "--yes"]);
    const again = await cluster.get("-n", "kube-system", "ds", "shunt-agent");
    assert.equal(again.metadata.generation, agent.metadata.generation);
    assert.equal(JSON.parse((await cluster.shunt(["status", "--wait", "-o", "json"])).stdout).ready, true);
    await cluster.kubectl(["wait", "--for=condition=Ready", "node", "--all", "--timeout=60s"]);
  });

  test("the connectivity test passes, and its JUnit and JSON agree", async () => {
    const junit = join(cluster.folder, "junit.xml");
    const run = await cluster.shunt(["connectivity", "test", "-o", "json", "--junit-file", junit], {
      timeoutMs: 400_000,
      allowFailure: true,
    });
    assert.equal(run.exitCode, 0, run.stderr.slice(-3000) + run.stdout.slice(-3000));
    const report = JSON.parse(run.stdout);
    const xml = readFileSync(junit, "utf8");
    const count = (pattern: RegExp) => xml.match(pattern)?.length ?? 0;
    assert.ok(report.summary.scenarios.passed >= 25, JSON.stringify(report.summary));
    assert.equal(report.summary.scenarios.failed, 0);
    assert.equal(
      count(/<testcase /g),
      report.summary.scenarios.passed + report.summary.scenarios.failed + report.summary.scenarios.skipped,
    );
    assert.equal(count(/<failure/g), 0);
    assert.equal(count(/<skipped/g), report.summary.scenarios.skipped);
  });

  test("killing the agent under 200 requests a second loses none, and a new pod waits and then starts", async () => {
    const server = {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "server" },
      spec: { selector: { app: "server" }, ports: [{ port: 80, targetPort: 8080 }] },
    };
    const serve = "import http from 'node:http'; http.createServer((q, r) => r.end('ok')).listen(8080, '::')";
    await cluster.apply(
      server,
      idlePod("server", {
        node: worker,
        command: ["/usr/local/bin/node", "--input-type=module", "-e", serve],
      }),
      idlePod("client", { node: worker }),
      idlePod("far-client", { node: nodes[2]! }),
    );
    await cluster.kubectl(["wait", "--for=condition=Ready", "pod", "--all", "--timeout=90s"]);
    const serverAddress = (await cluster.get("pod", "server")).status.podIP;
    const serviceAddress = (await cluster.get("service", "server")).spec.clusterIP;
    const urls = [`http://${hostPort(serverAddress, 8080)}/`, `http://${hostPort(serviceAddress, 80)}/`];
    await waitFor(
      "the Service to answer",
      async () =>
        (await cluster.kubectl(["exec", "client", "--", "curl", "-sf", "--max-time", "2", urls[1]!]))
          .stdout === "ok",
      {
        timeoutMs: 20_000,
      },
    );
    const load = (pod: string) =>
      cluster.kubectl(["exec", "-i", pod, "--", "/usr/local/bin/node", "--input-type=module", "-"], {
        input: loadProgram(urls, 100, 20_000),
      });
    const loads = [load("client"), load("far-client")];
    await sleep(3_000);
    const before = await agentStatus(name, worker);
    const pid = (await nodeExec(name, worker, ["pgrep", "-f", "bin/agent.ts"])).stdout.trim().split("\n");
    await nodeExec(name, worker, ["kill", "-KILL", ...pid]);
    await cluster.apply(idlePod("newcomer", { node: worker }));
    const results = (await Promise.all(loads)).map(({ stdout }) => JSON.parse(stdout) as LoadResult);
    for (const result of results) {
      assert.equal(result.sent, 2000);
      assert.deepEqual(result.failed, []);
    }
    await cluster.kubectl(["wait", "--for=condition=Ready", "pod/newcomer", "--timeout=90s"]);
    const later = await waitFor("the agent to answer again", () => agentStatus(name, worker), {
      timeoutMs: 60_000,
    });
    assert.notEqual(later.startedAt, before.startedAt);
    await cluster.kubectl(["delete", "pod", "--all", "--wait", "--timeout=60s"]);
    await cluster.kubectl(["delete", "service", "server"]);
  });

  test("500 pods created and deleted on one node leak nothing", async (t) => {
    const before = await waitFor(
      "the pods and Services of earlier tests to be gone from the node",
      async () => {
        const found = await podResources(name, worker);
        const { pods, frontends } = await expectedOnWorker();
        const settled =
          found.endpoints === pods && found.links === pods && found.mapEntries.sh_services === frontends;
        return settled ? found : undefined;
      },
      { timeoutMs: 60_000, intervalMs: 1_000 },
    );
    const replicas = 100;
    const deployment = {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "many" },
      spec: {
        replicas: 0,
        selector: { matchLabels: { app: "many" } },
        template: {
          metadata: { labels: { app: "many" } },
          spec: {
            nodeSelector: { "kubernetes.io/hostname": worker },
            terminationGracePeriodSeconds: 0,
            containers: [
              {
                name: "main",
                image,
                imagePullPolicy: "IfNotPresent",
                command: ["/bin/busybox", "sleep", "3600"],
              },
            ],
          },
        },
      },
    };
    // A Service in front of the pods, of both families, so that they come and go in its maps too.
    const port = (protocol: string) => ({ name: protocol.toLowerCase(), protocol, port: 80, targetPort: 80 });
    const ports = [port("TCP"), port("UDP")];
    await cluster.apply(deployment, {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "many" },
      spec: { ipFamilyPolicy: "RequireDualStack", selector: { app: "many" }, ports },
    });
    const families = 2;
    const full = {
      ...before.mapEntries,
      sh_endpoints: before.mapEntries.sh_endpoints! + replicas * families,
      sh_services: before.mapEntries.sh_services! + ports.length * families,
      sh_backends: before.mapEntries.sh_backends! + replicas * ports.length * families,
    };
    for (let round = 0; round < 5; round++) {
      await cluster.kubectl(["scale", "deployment/many", `--replicas=${replicas}`]);
      await cluster.kubectl(["rollout", "status", "deployment/many", "--timeout=180s"], {
        timeoutMs: 200_000,
      });
      await settlesAs("the maps to hold the pods", async () => {
        assert.deepEqual((await podResources(name, worker)).mapEntries, full);
      });
      await cluster.kubectl(["scale", "deployment/many", "--replicas=0"]);
      await waitFor(
        "the pods to be gone",
        async () => (await cluster.get("pod", "-l", "app=many")).items.length === 0,
        { timeoutMs: 180_000, intervalMs: 1_000 },
      );
    }
    await cluster.kubectl(["delete", "deployment,service", "many"]);
    await settlesAs("the node to be as before", async () => {
      assert.deepEqual(await podResources(name, worker), before);
    });
    const agent = await cluster.get("-n", "kube-system", "ds", "shunt-agent");
    const { memory } = agent.spec.template.spec.containers[0].resources.requests;
    const used = await agentMemoryMiB(name, worker);
    t.diagnostic(`the agent uses ${used} MiB`);
    assert.ok(used < Number.parseInt(memory, 10), `the agent uses ${used} MiB, and asks for ${memory}`);
  });

  test("an upgrade to another configuration rolls the agent and keeps its values", async () => {
    await cluster.shunt(["upgrade", "--yes", "--set", "logLevel=debug"], { timeoutMs: 240_000 });
    const config = await cluster.get("-n", "kube-system", "cm", "shunt-config");
    assert.match(config.data["config.yaml"], /logLevel: debug/);
    await cluster.shunt(["upgrade", "--yes", "--set", "masquerade=true"]);
    assert.match(
      (await cluster.get("-n", "kube-system", "cm", "shunt-config")).data["config.yaml"],
      /logLevel: debug/,
    );
  });

  test("uninstall leaves no trace on the nodes and in the API", async () => {
    await cluster.shunt(["uninstall", "--yes"], { timeoutMs: 300_000 });
    for (const [index, node] of nodes.entries()) assert.deepEqual(await traces(node), clean[index], node);
    const objects = await cluster.kubectl([
      "get",
      "crd,cm,sa,ds,clusterrole,clusterrolebinding",
      "-A",
      "-o",
      "name",
    ]);
    assert.doesNotMatch(objects.stdout, /shunt/);
    const status = await cluster.shunt(["status"], { allowFailure: true });
    assert.equal(status.exitCode, 1);
    await cluster.shunt(["uninstall", "--yes"], { timeoutMs: 60_000 });
  });
});
