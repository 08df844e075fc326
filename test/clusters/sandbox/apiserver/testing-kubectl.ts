// SPDX-License-Identifier: Apache-2.0
import { existsSync } from "node:fs";
import { type RunResult, run } from "../../../../lib/run.ts";

const FOLDER = "/usr/lib/google-cloud-sdk/bin";

/** The real kubectl programs to test with: the versions at hand, else the one on PATH. */
export function kubectlPrograms(): string[] {
  const named = process.env.SHUNT_TEST_KUBECTL?.split(":").filter((path) => path !== "");
  if (named !== undefined && named.length > 0) return named;
  const found = ["1.27", "1.33"].map((version) => `${FOLDER}/kubectl.${version}`).filter(existsSync);
  return found.length > 0 ? found : ["kubectl"];
}

/** A kubectl that talks to one server; its exit code is the caller's to judge. */
export function kubectlFor(
  program: string,
  kubeconfig: string,
): (words: string, options?: { input?: string; env?: Record<string, string> }) => Promise<RunResult> {
  return (words, options = {}) =>
    run(program, words.split(" "), {
      env: { KUBECONFIG: kubeconfig, ...options.env },
      ...(options.input === undefined ? {} : { input: options.input }),
      timeoutMs: 30_000,
      allowFailure: true,
    });
}
