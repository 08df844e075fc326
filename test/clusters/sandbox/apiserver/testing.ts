// SPDX-License-Identifier: Apache-2.0
// A server of one's own for tests: certificates, a free port on 127.0.0.1, a kubeconfig.
import "reflect-metadata";
import { generateKeyPairSync } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { createLogger } from "../../../../lib/log.ts";
import { sleep } from "../../../../lib/wait.ts";
import { type Authority, createAuthority } from "../pki.ts";
import type { ApiServerOptions } from "./options.ts";
import { startApiServer } from "./start.ts";

/** A server that serves one test. */
export interface TestApiServer {
  url: string;
  port: number;
  /** Kubeconfig of an administrator. */
  kubeconfig: string;
  /** Folder for the test's own files; gone after `stop`. */
  folder: string;
  authority: Authority;
  /** Writes a kubeconfig with a client certificate of this user. */
  kubeconfigFor(user: string, groups?: string[]): Promise<string>;
  /** Writes a kubeconfig with a bearer token. */
  kubeconfigWithToken(name: string, token: string): string;
  /** Ends the server and starts another on the same port and data, which is away for this long. */
  restart(awayMs?: number): Promise<void>;
  stop(): Promise<void>;
}

/** Starts an API server in this process. Stop it in the test's `after`. */
export async function startTestApiServer(overrides: Partial<ApiServerOptions> = {}): Promise<TestApiServer> {
  const folder = mkdtempSync(join(tmpdir(), "shunt-apiserver-"));
  const authority = await createAuthority("kubernetes");
  const serving = await authority.issue({
    commonName: "kube-apiserver",
    names: ["127.0.0.1", "localhost", "kubernetes"],
  });
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const options: ApiServerOptions = {
    bindAddress: "127.0.0.1",
    securePort: 0,
    tlsCert: serving.cert,
    tlsKey: serving.key,
    clientCa: authority.cert,
    serviceAccountPublicKeys: [],
    serviceAccountSigningKey: privateKey.export({ type: "pkcs8", format: "pem" }).toString(),
    serviceAccountIssuer: "https://kubernetes.default.svc.cluster.local",
    serviceCidrs: ["10.96.0.0/16"],
    ...overrides,
  };
  const log = createLogger(undefined, "error");
  let server = await startApiServer(options, log).catch((error: unknown) => {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  });
  const { port } = server;
  const url = `https://127.0.0.1:${port}`;
  const write = (name: string, user: object): string => {
    const path = join(folder, `${name.replaceAll(/[^\w.-]/g, "-")}.kubeconfig`);
    writeFileSync(path, kubeconfigText(url, authority.cert, user), { mode: 0o600 });
    return path;
  };
  const base64 = (text: string): string => Buffer.from(text).toString("base64");
  const kubeconfigFor = async (user: string, groups: string[] = []): Promise<string> => {
    const { cert, key } = await authority.issue({ commonName: user, organizations: groups });
    return write(user, { "client-certificate-data": base64(cert), "client-key-data": base64(key) });
  };
  return {
    url,
    port,
    folder,
    authority,
    kubeconfig: await kubeconfigFor("kubernetes-admin", ["system:masters"]),
    kubeconfigFor,
    kubeconfigWithToken: (name, token) => write(name, { token }),
    restart: async (awayMs = 0) => {
      await server.stop();
      await sleep(awayMs);
      server = await startApiServer({ ...options, securePort: port }, log);
    },
    stop: async () => {
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function kubeconfigText(url: string, ca: string, user: object): string {
  return stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [
      {
        name: "test",
        cluster: { server: url, "certificate-authority-data": Buffer.from(ca).toString("base64") },
      },
    ],
    users: [{ name: "user", user }],
    contexts: [{ name: "test", context: { cluster: "test", user: "user" } }],
    "current-context": "test",
  });
}
