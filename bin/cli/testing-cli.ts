// SPDX-License-Identifier: Apache-2.0
// The whole command line inside a test.
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { Readable, Writable } from "node:stream";
import { main } from "./main.ts";

/** Runs a command line with this standard input. */
export async function runCli(
  words: readonly string[],
  input = "",
): Promise<{ code: number; out: string; err: string }> {
  const text = { out: "", err: "" };
  const sink = (name: "out" | "err") =>
    new Writable({
      write(chunk, _encoding, done) {
        text[name] += chunk;
        done();
      },
    });
  const { signal } = new AbortController();
  const env = { stdin: Readable.from([input]), stdout: sink("out"), stderr: sink("err"), env: {}, signal };
  const code = await main(env, [...words]);
  return { code, ...text };
}

/** Starts a server on loopback, and returns a kubeconfig whose API server it is. */
export async function kubeconfigFor(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return JSON.stringify({
    clusters: [
      { name: "t", cluster: { server: `http://127.0.0.1:${port}`, "insecure-skip-tls-verify": true } },
    ],
    users: [{ name: "t", user: {} }],
    contexts: [{ name: "t", context: { cluster: "t", user: "t" } }],
    "current-context": "t",
  });
}
