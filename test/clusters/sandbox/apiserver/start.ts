// SPDX-License-Identifier: Apache-2.0
import { once } from "node:events";
import https from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { networkInterfaces } from "node:os";
import { errorMessage, ShuntError } from "../../../../lib/errors.ts";
import type { Logger } from "../../../../lib/log.ts";
import type { Api } from "./api.ts";
import { bootstrap } from "./bootstrap.ts";
import { followCrds } from "./crd-lifecycle.ts";
import { expireEvents } from "./event-expiry.ts";
import { FileJournal } from "./journal.ts";
import { VERSION } from "./non-resource.ts";
import type { ApiServerOptions } from "./options.ts";
import { OpenApi, Registry } from "./resources/index.ts";
import { handleRequest, handleUpgrade } from "./server.ts";
import { Store } from "./store.ts";
import { createStreamProxy } from "./stream-proxy.ts";
import { TokenAuthority } from "./tokens.ts";

/** A server that runs. */
export interface RunningApiServer {
  port: number;
  /** Ends every connection and closes the journal. */
  stop(): Promise<void>;
}

/** Starts the API server; resolves when it listens. */
export async function startApiServer(options: ApiServerOptions, log: Logger): Promise<RunningApiServer> {
  const store = new Store();
  const journal = options.dataDir === undefined ? undefined : new FileJournal(store, options.dataDir);
  const tokens = new TokenAuthority({
    issuer: options.serviceAccountIssuer,
    signingKeyPem: options.serviceAccountSigningKey,
    publicKeysPem: options.serviceAccountPublicKeys,
  });
  const registry = new Registry({ serviceCidrs: options.serviceCidrs });
  const openApi = new OpenApi(registry, VERSION.gitVersion);
  const api: Api = { store, registry, openApi, tokens, log };
  const server = await listen(api, options);
  const { port } = server.address() as AddressInfo;
  try {
    followCrds(api);
    bootstrap(api, options.serviceCidrs, advertised(options), port);
  } catch (error) {
    server.close();
    throw error;
  }
  const stopExpiry = expireEvents(store);
  log.info("serving", { address: options.bindAddress, port });
  return {
    port,
    stop: async () => {
      stopExpiry();
      const closed = once(server, "close");
      server.close();
      for (const socket of socketsOf(server)) socket.destroy();
      await closed;
      journal?.close();
    },
  };
}

function advertised(options: ApiServerOptions): string {
  if (options.advertiseAddress !== undefined) return options.advertiseAddress;
  if (!["0.0.0.0", "::"].includes(options.bindAddress)) return options.bindAddress;
  const family = options.serviceCidrs[0]!.includes(":") ? "IPv6" : "IPv4";
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const outside = addresses.find(
    (entry) => !entry.internal && entry.family === family && !entry.address.startsWith("fe80:"),
  );
  return outside?.address ?? (family === "IPv6" ? "::1" : "127.0.0.1");
}

const sockets = new WeakMap<https.Server, Set<Socket>>();

function socketsOf(server: https.Server): Set<Socket> {
  return sockets.get(server) ?? new Set();
}

async function listen(api: Api, options: ApiServerOptions): Promise<https.Server> {
  const stream = createStreamProxy({
    cert: options.kubeletCert,
    key: options.kubeletKey,
    ca: options.kubeletCa,
  });
  const server = https.createServer(
    {
      cert: options.tlsCert,
      key: options.tlsKey,
      ca: options.clientCa,
      requestCert: true,
      rejectUnauthorized: false,
      keepAliveTimeout: 120_000,
      requestTimeout: 0,
    },
    (request, response) => void handleRequest(api, stream, request, response),
  );
  server.on("upgrade", (request, socket, head) => void handleUpgrade(api, stream, request, socket, head));
  const open = new Set<Socket>();
  sockets.set(server, open);
  server.on("connection", (socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
  });
  server.listen(options.securePort, options.bindAddress);
  try {
    await once(server, "listening");
  } catch (error) {
    throw new ShuntError(
      `Cannot listen on ${options.bindAddress}:${options.securePort}: ${errorMessage(error)}`,
      { code: "Listen", remedy: "Stop what uses the port, or choose another with --secure-port." },
    );
  }
  return server;
}
