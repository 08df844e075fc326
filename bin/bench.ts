// SPDX-License-Identifier: Apache-2.0
import { openLab } from "../agent/datapath-lab.ts";
import { main } from "../test/bench/index.ts";

process.exit(await main(process.argv.slice(2), { openLab }, process));
