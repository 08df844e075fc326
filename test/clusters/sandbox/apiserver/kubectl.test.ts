// SPDX-License-Identifier: Apache-2.0
// The real kubectl drives every verb that the server alone can serve.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { startTestApiServer, type TestApiServer } from "./testing.ts";
import { kubectlFor, kubectlPrograms } from "./testing-kubectl.ts";

const DEPLOYMENT = `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "web:1", ports: [{containerPort: 80}]}]}
`;

for (const program of kubectlPrograms())
  describe(program, () => {
    let server: TestApiServer;
    let kubectl: ReturnType<typeof kubectlFor>;

    const ok = async (words: string, input?: string): Promise<string> => {
      const { exitCode, stdout, stderr } = await kubectl(words, input === undefined ? {} : { input });
      assert.equal(exitCode, 0, `kubectl ${words}: ${stderr}`);
      return stdout;
    };
    const fails = async (words: string, message: RegExp, input?: string): Promise<void> => {
      const { exitCode, stderr } = await kubectl(words, input === undefined ? {} : { input });
      assert.notEqual(exitCode, 0, `kubectl ${words} should fail`);
      assert.match(stderr, message);
    };

    before(async () => {
      server = await startTestApiServer();
      kubectl = kubectlFor(program, server.kubeconfig);
    });
    after(async () => await server?.stop());

    test("create, get, describe, delete", async () => {
      assert.equal(await ok("create configmap a --from-literal=k=v"), "configmap/a created\n");
      assert.match(await ok("get configmap a"), /^NAME +DATA +AGE\na +1 +\d+s\n$/);
      assert.equal(await ok("get configmap a -o jsonpath={.data.k}"), "v");
      assert.match(await ok("describe configmap a"), /^Name: +a\n/);
      await fails("create configmap a", /configmaps "a" already exists/);
      assert.equal(await ok("delete configmap a"), 'configmap "a" deleted\n');
      await fails("get configmap a", /Error from server \(NotFound\): configmaps "a" not found/);
    });

    test("apply three ways", async () => {
      assert.equal(await ok("apply -f -", DEPLOYMENT), "deployment.apps/web created\n");
      assert.equal(await ok("apply -f -", DEPLOYMENT), "deployment.apps/web unchanged\n");
      const changed = DEPLOYMENT.replace("web:1", "web:2");
      assert.equal(await ok("apply -f -", changed), "deployment.apps/web configured\n");
      assert.equal(await ok("get deployment web -o jsonpath={..image}"), "web:2");
      await fails(
        "apply -f -",
        /spec\.template\.spec\.containers.*Required value/s,
        DEPLOYMENT.replace(/containers:.*/, "containers: []}"),
      );
    });

    test("scale, then server-side apply conflicts until forced", async () => {
      await ok("scale deployment web --replicas=5");
      assert.equal(await ok("get deployment web -o jsonpath={.spec.replicas}"), "5");
      await fails(
        "apply --server-side -f -",
        /conflict with "[^"]+" with subresource "scale" using apps\/v1: \.spec\.replicas/,
        DEPLOYMENT,
      );
      await ok("apply --server-side --force-conflicts -f -", DEPLOYMENT);
      assert.equal(await ok("get deployment web -o jsonpath={.spec.replicas}"), "2");
    });

    test("server-side apply removes what its author gives up", async () => {
      const map = (data: string): string =>
        `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: owned}\ndata: ${data}\n`;
      await ok("apply --server-side -f -", map("{a: one, b: two}"));
      await ok('patch configmap owned --type=merge -p {"data":{"c":"three"}}');
      await ok("apply --server-side -f -", map("{a: one}"));
      assert.deepEqual(JSON.parse(await ok("get configmap owned -o jsonpath={.data}")), {
        a: "one",
        c: "three",
      });
    });

    test("patches: strategic, merge and JSON", async () => {
      await ok(
        'patch deployment web -p {"spec":{"template":{"spec":{"containers":[{"name":"web","image":"web:3"}]}}}}',
      );
      const container = JSON.parse(
        await ok("get deployment web -o jsonpath={.spec.template.spec.containers[0]}"),
      );
      assert.equal(container.image, "web:3");
      assert.equal(container.ports[0].containerPort, 80);
      await ok('patch deployment web --type=json -p [{"op":"replace","path":"/spec/replicas","value":7}]');
      await ok('patch deployment web --type=merge -p {"metadata":{"labels":{"tier":"front"}}}');
      assert.equal(await ok("get deployment -l tier=front -o jsonpath={.items[*].spec.replicas}"), "7");
      await ok("delete deployment web");
    });

    test("label, annotate, edit", async () => {
      await ok("create configmap b --from-literal=k=v");
      await ok("label configmap b colour=red");
      await ok("annotate configmap b note=x");
      assert.match(await ok("get configmap -l colour=red -o name"), /^configmap\/b\n$/);
      const edited = await kubectl("edit configmap b", { env: { KUBE_EDITOR: "sed -i s/red/blue/" } });
      assert.equal(edited.exitCode, 0, edited.stderr);
      assert.equal(await ok("get configmap b -o jsonpath={.metadata.labels.colour}"), "blue");
    });

    test("watch and wait", async () => {
      await ok("create configmap w");
      const watching = kubectl("get configmap w --watch --request-timeout=4s -o jsonpath={.data.k},");
      const deadline = Date.now() + 3000;
      for (let n = 0; Date.now() < deadline; n++) {
        await ok(`patch configmap w --type=merge -p {"data":{"k":"v${n}"}}`);
        await new Promise((resolve) => setTimeout(resolve, 300));
      }
      assert.match((await watching).stdout, /v\d+,v\d+,/);
      const gone = kubectl("wait --for=delete configmap/w --timeout=20s");
      await ok("delete configmap w");
      assert.equal((await gone).exitCode, 0);
    });

    test("what the cluster offers and permits", async () => {
      assert.match(await ok("api-resources"), /deployments +deploy +apps\/v1 +true +Deployment/);
      assert.match(await ok("explain pod.spec.nodeName"), /nodeName/);
      assert.equal((await ok("auth can-i delete nodes")).trim(), "yes");
      const denied = await kubectl("auth can-i delete nodes --as=nobody");
      assert.equal(denied.stdout.trim(), "no");
      await fails(
        "get pods --as=nobody",
        /pods is forbidden: User "nobody" cannot list resource "pods" in API group "" in the namespace "default"/,
      );
      assert.match(await ok("auth whoami"), /Username +kubernetes-admin/);
      assert.match(await ok("version"), /v1\.33\.0/);
    });

    test("a custom kind comes and goes", async () => {
      const file = join(server.folder, "crd.json");
      const schema = {
        type: "object",
        properties: { spec: { type: "object", properties: { size: { type: "integer", default: 3 } } } },
      };
      const names = { plural: "things", singular: "thing", kind: "Thing", shortNames: ["th"] };
      const version = { name: "v1", served: true, storage: true, schema: { openAPIV3Schema: schema } };
      writeFileSync(
        file,
        JSON.stringify({
          apiVersion: "apiextensions.k8s.io/v1",
          kind: "CustomResourceDefinition",
          metadata: { name: "things.test.dev" },
          spec: { group: "test.dev", scope: "Namespaced", names, versions: [version] },
        }),
      );
      await ok(`apply -f ${file}`);
      await ok("wait --for=condition=Established crd/things.test.dev --timeout=10s");
      await ok("apply -f -", "apiVersion: test.dev/v1\nkind: Thing\nmetadata: {name: t}\nspec: {}\n");
      assert.equal(await ok("get th t -o jsonpath={.spec.size}"), "3");
      await fails('patch th t --type=merge -p {"spec":{"size":"big"}}', /must be of type integer/);
      await ok("delete crd things.test.dev --timeout=10s");
      await fails(
        "get things.test.dev",
        /doesn't have a resource type|could not find the requested resource/,
      );
    });
  });
