// SPDX-License-Identifier: Apache-2.0
import { hostPort } from "../../../lib/addresses.ts";
import type { Scenario } from "../suite.ts";
import type { World } from "../world.ts";

export const podToApiServer: Scenario<World> = {
  name: "pod-to-apiserver",
  description: "every client reaches the API server at the kubernetes Service, by address and by name",
  skip: (world, family) =>
    world.apiServer.clusterIps[family] === undefined
      ? "the kubernetes Service has no address of this family"
      : undefined,
  run: (t) =>
    t.each(t.world.clients, async (client, a) => {
      const { apiServer, probes } = t.world;
      for (const host of [apiServer.address(t.family), apiServer.dnsName]) {
        const url = `https://${hostPort(host, 443)}/version`;
        const result = await probes.http(a, client, url, { family: t.family });
        // Without credentials the server may refuse, but it is the server that does.
        a.oneOf(`the HTTP status of ${url} (${result.error})`, result.status, [200, 401, 403]);
        a.ok(
          /"major"|"Status"/.test(result.body),
          `${url} is not an API server: ${result.body.slice(0, 100)}`,
        );
      }
    }),
};
