// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RunOptions, type RunResult, run } from "../../lib/run.ts";

const root = new URL("../../", import.meta.url).pathname;

/** A sandbox cluster of one test file, driven as a user would: by `./shunt` and `kubectl`. */
export class ClusterUnderTest {
  readonly name: string;
  readonly folder: string;
  readonly kubeconfig: string;

  private constructor(name: string) {
    this.name = name;
    this.folder = mkdtempSync(join(tmpdir(), `shunt-${name}-`));
    this.kubeconfig = join(this.folder, "kubeconfig");
  }

  /** Creates the cluster; one of the same name that a killed test left is removed first. */
  static async create(name: string, flags: string[] = []): Promise<ClusterUnderTest> {
    const cluster = new ClusterUnderTest(name);
    await shunt(["cluster", "delete", "--name", name], { allowFailure: true, timeoutMs: 120_000 });
    await cluster.shunt(
      [
        "cluster",
        "create",
        "--driver",
        "sandbox",
        "--name",
        name,
        "--kubeconfig",
        cluster.kubeconfig,
        ...flags,
      ],
      {
        timeoutMs: 300_000,
      },
    );
    return cluster;
  }

  shunt(args: string[], options: RunOptions = {}): Promise<RunResult> {
    return shunt(args, { ...options, env: { KUBECONFIG: this.kubeconfig, ...options.env } });
  }

  kubectl(args: string[], options: RunOptions = {}): Promise<RunResult> {
    return run("kubectl", args, {
      timeoutMs: 120_000,
      ...options,
      env: { KUBECONFIG: this.kubeconfig, ...options.env },
    });
  }

  /** Applies manifests given as objects. */
  apply(...objects: unknown[]): Promise<RunResult> {
    const list = { apiVersion: "v1", kind: "List", items: objects };
    return this.kubectl(["apply", "-f", "-"], { input: JSON.stringify(list) });
  }

  /** `kubectl get … -o json`, parsed. */
  async get(...args: string[]): Promise<any> {
    return JSON.parse((await this.kubectl(["get", ...args, "-o", "json"])).stdout);
  }

  async delete(): Promise<void> {
    await shunt(["cluster", "delete", "--name", this.name], { timeoutMs: 120_000 });
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Runs `./shunt` as a process of its own. */
export function shunt(args: string[], options: RunOptions = {}): Promise<RunResult> {
  return run(`${root}shunt`, args, { timeoutMs: 300_000, ...options, env: { CI: "true", ...options.env } });
}

/** The image that the sandbox imports on every node. */
export const image = "shunt.local/shunt:dev";

/** A pod that idles until told otherwise. */
export function idlePod(
  name: string,
  extra: { node?: string; labels?: Record<string, string>; command?: string[] } = {},
): unknown {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, labels: { app: name, ...extra.labels } },
    spec: {
      ...(extra.node === undefined ? {} : { nodeSelector: { "kubernetes.io/hostname": extra.node } }),
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: "main",
          image,
          imagePullPolicy: "IfNotPresent",
          command: extra.command ?? ["/bin/busybox", "sleep", "3600"],
        },
      ],
    },
  };
}
