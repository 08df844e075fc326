// SPDX-License-Identifier: Apache-2.0
import { openLab } from "../agent/datapath-lab.ts";
import { main } from "../test/bench/index.ts";

// `bench.ts cni-node ROUNDS` is this program again, inside the node that the bench `cni` makes.
const [first, rounds] = process.argv.slice(2);
if (first === "cni-node") {
  const { customResourceDefinitions } = await import("../installer/manifests.ts");
  const { measureCni } = await import("../test/bench/cni-node.ts");
  process.stdout.write(JSON.stringify(await measureCni(Number(rounds), customResourceDefinitions())));
  process.exit(0);
}
const cniNode = [process.execPath, import.meta.filename, "cni-node"];
process.exit(await main(process.argv.slice(2), { openLab, cniNode }, process));
