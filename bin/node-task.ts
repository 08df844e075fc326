// SPDX-License-Identifier: Apache-2.0
import { main } from "../migrate/node-task/main.ts";

const { env, stdout } = process;
process.exit(await main({ env, stdout }, process.argv.slice(2)));
