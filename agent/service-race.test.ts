// SPDX-License-Identifier: Apache-2.0
// Sockets connect while services are written again and again: the kernel gives the memory of a replaced map entry to
// another one at once, and a program that still reads it must not be led astray.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { addressBytes } from "../lib/addresses.ts";
import { DatapathLab } from "./datapath-lab.ts";
import { lbStats, lbStatsKey, maps, serviceKey, service as serviceLayout } from "./datapath-layout.ts";
import { buildFile } from "./paths.ts";

const lab = new DatapathLab(`sr${process.pid % 100000}`);
const protocol = 17;
const services = [1, 2, 3, 4, 5, 6, 7, 8].map((id) => ({ id, address: `10.96.1.${id}`, port: 80, protocol }));

before(async () => {
  await lab.open({ name: lab.name, routing: "direct" });
  for (const service of services) lab.addService({ ...service, backends: ["10.244.2.11"] });
});
after(() => lab.close());

test("no connection to a service goes to another's backend while all are written again", async () => {
  const entries = services.map(
    (service) =>
      [
        serviceKey.encode({ ...service, address: addressBytes(service.address) }),
        serviceLayout.encode({ id: service.id, generation: 1, backendCount: 1 }),
      ] as const,
  );
  const [target] = services;
  const words = [buildFile("bin/connect-storm"), target!.address, String(target!.port), "4000"];
  const [file, args] = lab.command("n1p1", words);
  const storm = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(storm, "exit").then(() => true);
  const output = storm.stdout.setEncoding("utf8").toArray();
  let writes = 0;
  while (storm.exitCode === null) {
    for (let count = 0; count < 1000; count++) lab.map(1, maps.services).setMany(entries);
    writes += 1000;
    await new Promise((resolve) => setImmediate(resolve));
  }
  await ended;
  const stats = lab.map(1, maps.lbStats);
  const counts = new Map<number, number>();
  for (const [key, value] of stats.entries()) {
    const { serviceId, backendId } = lbStatsKey.decode(key);
    const total = stats
      .splitPerCpu(value)
      .reduce((sum, one) => sum + Number(lbStats.decode(one).connections), 0);
    if (backendId !== 0) counts.set(serviceId, (counts.get(serviceId) ?? 0) + total);
  }
  assert.ok(writes > 1000, `${writes} writes`);
  assert.deepEqual([...counts], [[target!.id, Number((await output).join(""))]]);
});
