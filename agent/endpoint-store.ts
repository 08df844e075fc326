// SPDX-License-Identifier: Apache-2.0
import { mkdir, open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { errorMessage, ShuntError } from "../lib/errors.ts";

/** What a runtime says about the interface that it wants. */
export interface Attachment {
  containerId: string;
  ifName: string;
  /** The pod's network namespace as the runtime named it. */
  netns: string;
  podNamespace: string;
  podName: string;
  podUid: string;
}

/** One pod interface of this node, as remembered on disk. */
export interface Endpoint extends Attachment {
  /** Small number, unique on the node. */
  id: number;
  /** Host side of the veth pair. */
  device: string;
  /** The pod's side and the host's side of the pair, `aa:bb:…`. */
  mac: string;
  hostMac: string;
  /** IPv4 first, if both. */
  addresses: string[];
  gateways: string[];
  mtu: number;
  /** False until ADD has answered: what a crash leaves half made is removed at the next start. */
  ready: boolean;
}

/** Key of an attachment: a container may have several interfaces. */
export const attachmentKey = (containerId: string, ifName: string): string => `${containerId}.${ifName}`;

/** The endpoints' files: written before anything is made for a pod, removed after all of it is gone. */
export class EndpointStore {
  readonly #folder: string;
  readonly #endpoints = new Map<string, Endpoint>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Reads all files; unreadable ones are removed and reported. */
  async load(onBroken: (file: string, why: string) => void): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#folder)) {
      const file = join(this.#folder, name);
      try {
        if (!name.endsWith(".json")) throw new Error("left over from an interrupted write");
        const endpoint = JSON.parse(await readFile(file, "utf8")) as Endpoint;
        if (!isEndpoint(endpoint) || this.#file(endpoint) !== file) throw new Error("not an endpoint");
        this.#endpoints.set(attachmentKey(endpoint.containerId, endpoint.ifName), endpoint);
      } catch (error) {
        onBroken(file, errorMessage(error));
        await rm(file, { force: true });
      }
    }
  }

  list(): Endpoint[] {
    return [...this.#endpoints.values()];
  }

  get(key: string): Endpoint | undefined {
    return this.#endpoints.get(key);
  }

  /** Writes atomically. Throws a clear error when the disk is full or read-only. */
  async put(endpoint: Endpoint): Promise<void> {
    const file = this.#file(endpoint);
    try {
      const handle = await open(`${file}.tmp`, "w", 0o600);
      try {
        await handle.writeFile(JSON.stringify(endpoint));
      } finally {
        await handle.close();
      }
      await rename(`${file}.tmp`, file);
    } catch (cause) {
      await rm(`${file}.tmp`, { force: true }).catch(() => undefined);
      throw new ShuntError(`Cannot write endpoint state ${file}: ${errorMessage(cause)}`, {
        code: "StateNotWritable",
        remedy: "Free space on the file system of /var/run/shunt.",
        cause,
      });
    }
    this.#endpoints.set(attachmentKey(endpoint.containerId, endpoint.ifName), endpoint);
  }

  async remove(endpoint: Endpoint): Promise<void> {
    await rm(this.#file(endpoint), { force: true });
    this.#endpoints.delete(attachmentKey(endpoint.containerId, endpoint.ifName));
  }

  #file(endpoint: Endpoint): string {
    return join(this.#folder, `${attachmentKey(endpoint.containerId, endpoint.ifName)}.json`);
  }
}

function isEndpoint(value: any): value is Endpoint {
  return (
    typeof value?.containerId === "string" &&
    typeof value.ifName === "string" &&
    typeof value.netns === "string" &&
    typeof value.device === "string" &&
    Number.isInteger(value.id) &&
    Array.isArray(value.addresses)
  );
}
