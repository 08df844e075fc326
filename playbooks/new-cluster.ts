// SPDX-License-Identifier: Apache-2.0
// Playbook: a new cluster of the current kubeconfig context, without pod network, gets the agent and is proved.
// Usage: sh scripts/node.sh playbooks/new-cluster.ts [--set key=value ...]
import { $, argv, chalk, echo } from "zx";

const shunt = new URL("../shunt", import.meta.url).pathname;
const sets = [argv.set ?? []].flat().flatMap((word: string) => ["--set", word]);
const live = $({ stdio: "inherit" });

echo(chalk.bold("1. What would be done"));
await live`${shunt} install --dry-run ${sets}`;

echo(chalk.bold("2. Install, and wait for every node"));
await live`${shunt} install --yes ${sets}`;
await live`${shunt} status --wait --timeout 5m`;
await live`kubectl wait --for=condition=Ready node --all --timeout=2m`;

echo(chalk.bold("3. Prove it"));
await live`${shunt} connectivity test`;
