// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseConntrackLine } from "./conntrack.ts";
import { isTranslatedNow } from "./open-connections.ts";

test("open connections: TCP that the kernel rewrites in either direction, and that can still carry data", () => {
  const line = (state: string, back: string): string =>
    `tcp 6 99 ${state} src=172.30.0.2 dst=10.96.0.9 sport=5000 dport=80 ${back} [ASSURED] mark=0 use=1`;
  const rows: [string, boolean][] = [
    [line("ESTABLISHED", "src=10.244.1.3 dst=172.30.0.2 sport=8080 dport=5000"), true],
    [line("ESTABLISHED", "src=10.96.0.9 dst=10.244.0.0 sport=80 dport=61000"), true],
    [line("ESTABLISHED", "src=10.96.0.9 dst=172.30.0.2 sport=80 dport=5000"), false],
    [line("TIME_WAIT", "src=10.244.1.3 dst=172.30.0.2 sport=8080 dport=5000"), false],
    [
      "udp 17 29 src=1.1.1.1 dst=2.2.2.2 sport=1 dport=2 src=3.3.3.3 dst=1.1.1.1 sport=2 dport=1 [ASSURED]",
      false,
    ],
  ];
  for (const [text, expected] of rows)
    assert.equal(isTranslatedNow(parseConntrackLine(text)!), expected, text);
});
