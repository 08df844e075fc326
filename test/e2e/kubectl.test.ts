// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { waitFor } from "../../lib/wait.ts";
import { ClusterUnderTest, idlePod, image } from "./cluster-under-test.ts";

let cluster: ClusterUnderTest;
const kubectl = (...args: string[]) => cluster.kubectl(args);

const web = (replicas: number, version: string) => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "web" },
  spec: {
    replicas,
    selector: { matchLabels: { app: "web" } },
    template: {
      metadata: { labels: { app: "web" } },
      spec: {
        terminationGracePeriodSeconds: 1,
        containers: [
          {
            name: "httpd",
            image,
            imagePullPolicy: "IfNotPresent",
            command: [
              "/bin/busybox",
              "sh",
              "-c",
              `mkdir -p /tmp/w && echo ${version} > /tmp/w/index.html && echo serving ${version} && exec busybox httpd -f -p 8080 -h /tmp/w`,
            ],
            ports: [{ containerPort: 8080, name: "http" }],
            readinessProbe: { httpGet: { path: "/", port: "http" }, periodSeconds: 1 },
          },
        ],
      },
    },
  },
});

describe("a real kubectl drives the sandbox cluster", () => {
  before(async () => {
    cluster = await ClusterUnderTest.create("e2e-kubectl", ["--workers", "2"]);
    await cluster.shunt(["install", "--yes"]);
  });
  after(async () => await cluster?.delete());

  test("apply, get and describe", async () => {
    await cluster.apply(web(2, "one"));
    const again = await cluster.apply(web(2, "one"));
    assert.match(again.stdout, /deployment.apps\/web unchanged/);
    await kubectl("rollout", "status", "deployment/web", "--timeout=60s");
    const table = (await kubectl("get", "deploy,rs,pods", "-o", "wide")).stdout;
    assert.match(table, /deployment.apps\/web\s+2\/2\s+2\s+2/);
    assert.match((await kubectl("describe", "deployment", "web")).stdout, /ScalingReplicaSet/);
    assert.match(
      (await kubectl("describe", "pod", "-l", "app=web")).stdout,
      /Started container httpd|Container started/,
    );
    assert.match((await kubectl("get", "nodes")).stdout, /e2e-kubectl-worker\s+Ready/);
  });

  test("apply refuses what the schema does not know", async () => {
    const wrong = web(1, "x") as any;
    wrong.spec.replicaz = 3;
    await assert.rejects(cluster.apply(wrong), /replicaz/);
  });

  test("server-side apply, and its conflicts", async () => {
    const config = (value: string) =>
      JSON.stringify({
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name: "ssa" },
        data: { key: value },
      });
    await cluster.kubectl(["apply", "--server-side", "--field-manager=a", "-f", "-"], { input: config("a") });
    const conflict = cluster.kubectl(["apply", "--server-side", "--field-manager=b", "-f", "-"], {
      input: config("b"),
    });
    await assert.rejects(conflict, /conflict/);
    await cluster.kubectl(["apply", "--server-side", "--field-manager=b", "--force-conflicts", "-f", "-"], {
      input: config("b"),
    });
    assert.equal((await cluster.get("cm", "ssa")).data.key, "b");
  });

  test("edit", async () => {
    const script = join(cluster.folder, "editor.sh");
    writeFileSync(script, `#!/bin/sh\nsed -i 's/key: b/key: edited/' "$1"\n`, { mode: 0o755 });
    await cluster.kubectl(["edit", "cm", "ssa"], { env: { KUBE_EDITOR: script } });
    assert.equal((await cluster.get("cm", "ssa")).data.key, "edited");
  });

  test("logs, also while they are written and of a container before", async () => {
    assert.match((await kubectl("logs", "deployment/web")).stdout, /serving one/);
    await cluster.apply(
      idlePod("crash", { command: ["/bin/busybox", "sh", "-c", "echo once; sleep 1; exit 3"] }),
    );
    await waitFor(
      "a restart",
      async () => (await cluster.get("pod", "crash")).status.containerStatuses?.[0].restartCount > 0,
      { timeoutMs: 60_000 },
    );
    assert.match((await kubectl("logs", "crash", "--previous")).stdout, /once/);
    await kubectl("delete", "pod", "crash");
    await cluster.apply(
      idlePod("talker", {
        command: ["/bin/busybox", "sh", "-c", "for i in 1 2 3; do echo line $i; sleep 1; done; sleep 3600"],
      }),
    );
    await kubectl("wait", "--for=condition=Ready", "pod/talker", "--timeout=60s");
    const child = spawn("kubectl", ["logs", "-f", "talker"], {
      env: { ...process.env, KUBECONFIG: cluster.kubeconfig },
    });
    let text = "";
    child.stdout.on("data", (chunk) => {
      text += chunk;
    });
    await waitFor("the last line", () => text.includes("line 3"), { timeoutMs: 20_000 });
    child.kill();
    await kubectl("delete", "pod", "talker");
  });

  test("exec: output, input, exit code, terminal size", async () => {
    const pod = (await cluster.get("pod", "-l", "app=web")).items[0].metadata.name;
    assert.equal((await kubectl("exec", pod, "--", "echo", "hello")).stdout, "hello\n");
    const echoed = await cluster.kubectl(["exec", "-i", pod, "--", "cat"], { input: "through\n" });
    assert.equal(echoed.stdout, "through\n");
    const failed = await cluster.kubectl(["exec", pod, "--", "sh", "-c", "echo bad >&2; exit 7"], {
      allowFailure: true,
    });
    assert.equal(failed.exitCode, 7);
    assert.match(failed.stderr, /bad/);
  });

  test("attach", async () => {
    await cluster.apply(
      idlePod("ticker", {
        command: ["/bin/busybox", "sh", "-c", "while true; do echo tick; sleep 0.2; done"],
      }),
    );
    await kubectl("wait", "--for=condition=Ready", "pod/ticker", "--timeout=60s");
    const child = spawn("kubectl", ["attach", "ticker"], {
      env: { ...process.env, KUBECONFIG: cluster.kubeconfig },
    });
    let text = "";
    child.stdout.on("data", (chunk) => {
      text += chunk;
    });
    await waitFor("a tick", () => text.includes("tick"), { timeoutMs: 20_000 });
    child.kill();
    await kubectl("delete", "pod", "ticker");
  });

  test("port-forward to a pod and to a Service", async () => {
    await kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080");
    for (const target of ["deployment/web", "service/web"]) {
      const port = target.startsWith("s") ? "80" : "8080";
      const child = spawn("kubectl", ["port-forward", target, `:${port}`], {
        env: { ...process.env, KUBECONFIG: cluster.kubeconfig },
      });
      try {
        let text = "";
        child.stdout.on("data", (chunk) => {
          text += chunk;
        });
        const local = await waitFor("the forwarded port", () => /127.0.0.1:(\d+)/.exec(text)?.[1], {
          timeoutMs: 20_000,
        });
        for (let request = 0; request < 3; request++)
          assert.equal(await (await fetch(`http://127.0.0.1:${local}/`)).text(), "one\n");
      } finally {
        child.kill();
      }
    }
  });

  test("cp both ways", async () => {
    await cluster.apply(idlePod("files"));
    await kubectl("wait", "--for=condition=Ready", "pod/files", "--timeout=60s");
    const local = join(cluster.folder, "there");
    const bytes = Buffer.from(Array.from({ length: 200_000 }, (_, index) => (index * 7) % 256));
    writeFileSync(local, bytes);
    await kubectl("cp", local, "files:/tmp/copied");
    await kubectl("cp", "files:/tmp/copied", `${local}-and-back`);
    assert.ok(readFileSync(`${local}-and-back`).equals(bytes));
    await kubectl("delete", "pod", "files");
  });

  test("rollout: a new version, its history, and back", async () => {
    await cluster.apply(web(2, "two"));
    await kubectl("rollout", "status", "deployment/web", "--timeout=60s");
    assert.match((await kubectl("rollout", "history", "deployment/web")).stdout, /\n1\s.*\n2\s/);
    await kubectl("rollout", "undo", "deployment/web");
    await kubectl("rollout", "status", "deployment/web", "--timeout=60s");
    assert.match(
      (await cluster.get("deployment", "web")).spec.template.spec.containers[0].command[3],
      /echo one/,
    );
    await kubectl("rollout", "restart", "deployment/web");
    await kubectl("rollout", "status", "deployment/web", "--timeout=60s");
    await kubectl("scale", "deployment/web", "--replicas=3");
    await kubectl("wait", "--for=jsonpath={.status.readyReplicas}=3", "deployment/web", "--timeout=60s");
  });

  test("label, annotate, patch, and selectors", async () => {
    await kubectl("label", "cm", "ssa", "tier=gold");
    await kubectl("annotate", "cm", "ssa", "note=kept");
    await kubectl(
      "patch",
      "cm",
      "ssa",
      "--type=json",
      "-p",
      '[{"op":"replace","path":"/data/key","value":"patched"}]',
    );
    const found = await cluster.get("cm", "-l", "tier in (gold,silver)");
    assert.equal(found.items.length, 1);
    assert.equal(found.items[0].data.key, "patched");
    const running = await cluster.get("pods", "-A", "--field-selector=status.phase=Running");
    assert.ok(running.items.length > 0);
    assert.ok(running.items.every((pod: any) => pod.status.phase === "Running"));
    const named = await cluster.get("cm", "--field-selector=metadata.name=ssa");
    assert.deepEqual(
      named.items.map((item: any) => item.metadata.name),
      ["ssa"],
    );
  });

  test("auth can-i, as an administrator and as somebody who may only read", async () => {
    assert.match((await kubectl("auth", "can-i", "delete", "nodes")).stdout, /yes/);
    await kubectl("create", "serviceaccount", "reader");
    await kubectl("create", "rolebinding", "reader", "--clusterrole=view", "--serviceaccount=default:reader");
    const as = "--as=system:serviceaccount:default:reader";
    assert.match((await kubectl("auth", "can-i", "list", "pods", as)).stdout, /yes/);
    const denied = await cluster.kubectl(["auth", "can-i", "delete", "pods", as], { allowFailure: true });
    assert.match(denied.stdout, /no/);
    const token = (await kubectl("create", "token", "reader")).stdout.trim();
    const bare = JSON.parse((await kubectl("config", "view", "--raw", "--minify", "-o", "json")).stdout);
    bare.users[0].user = { token };
    const file = join(cluster.folder, "reader.json");
    writeFileSync(file, JSON.stringify(bare));
    const forbidden = await cluster.kubectl(["--kubeconfig", file, "delete", "cm", "ssa"], {
      allowFailure: true,
    });
    assert.match(forbidden.stderr, /Forbidden.*cannot delete/);
    assert.match((await cluster.kubectl(["--kubeconfig", file, "get", "cm", "ssa"])).stdout, /ssa/);
  });

  test("drain evicts within the budget, and uncordon", async () => {
    await cluster.apply({
      apiVersion: "policy/v1",
      kind: "PodDisruptionBudget",
      metadata: { name: "web" },
      spec: { minAvailable: 2, selector: { matchLabels: { app: "web" } } },
    });
    const node = (await cluster.get("pod", "-l", "app=web")).items[0].spec.nodeName;
    await kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=90s");
    const left = await cluster.get("pod", "-l", "app=web", `--field-selector=spec.nodeName=${node}`);
    assert.equal(left.items.length, 0);
    assert.match((await kubectl("get", "node", node)).stdout, /SchedulingDisabled/);
    await kubectl("uncordon", node);
    await kubectl("wait", "--for=condition=Available", "deployment/web", "--timeout=60s");
  });

  test("explain, api-resources, top-level discovery", async () => {
    assert.match((await kubectl("explain", "deployment.spec.strategy")).stdout, /rollingUpdate/);
    assert.match((await kubectl("api-resources")).stdout, /networkpolicies\s+netpol/);
    assert.match((await kubectl("get", "nodes.shunt.dev")).stdout, /e2e-kubectl-worker\s+True/);
  });

  test("delete waits for the end, and a namespace takes all with it", async () => {
    const untilTerm = ["/bin/busybox", "sh", "-c", "trap 'exit 0' TERM; sleep 60 & wait"];
    await kubectl("create", "namespace", "gone");
    await kubectl("-n", "gone", "create", "configmap", "inside", "--from-literal=a=b");
    await kubectl("-n", "gone", "create", "deployment", "d", `--image=${image}`, "--", ...untilTerm);
    await kubectl("delete", "namespace", "gone", "--timeout=60s");
    const found = await cluster.kubectl(["get", "namespace", "gone"], { allowFailure: true });
    assert.match(found.stderr, /NotFound/);
    await kubectl("delete", "deployment,service,pdb", "web", "--timeout=60s");
    await kubectl("wait", "--for=delete", "pod", "-l", "app=web", "--timeout=60s");
  });
});
