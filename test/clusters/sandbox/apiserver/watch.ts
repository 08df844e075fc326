// SPDX-License-Identifier: Apache-2.0
import type { ServerResponse } from "node:http";
import { stringify as toYaml } from "yaml";
import { type Call, groupVersion, present, storageOf } from "./api.ts";
import { type Filter, filterOf, requestedRevision } from "./list.ts";
import { cachedJson, type Representation, representObject } from "./representation.ts";
import { isTrue } from "./request-info.ts";
import type { KubeObject } from "./resources/index.ts";
import { invalid, StatusError } from "./status.ts";
import type { StoreEvent } from "./store.ts";

const BOOKMARK_INTERVAL_MS = 30_000;
// A client that does not read is cut off; it lists anew.
const MAX_BUFFERED_BYTES = 64 * 1024 * 1024;
const INITIAL_EVENTS_END = "k8s.io/initial-events-end";

/** Streams the changes of what a request selects until it ends, the client leaves or `timeoutSeconds` pass. */
export function serveWatch(call: Call, response: ServerResponse, form: Representation): void {
  const { query } = call.info;
  const filter = filterOf(call);
  const sendInitial = query.get("sendInitialEvents");
  if (sendInitial !== null && query.get("resourceVersionMatch") !== "NotOlderThan")
    throw invalid({ group: "meta.k8s.io", kind: "ListOptions" }, "", [
      {
        field: "resourceVersionMatch",
        reason: "FieldValueForbidden",
        message: "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
      },
    ]);
  const revision = startRevision(call, sendInitial);
  const stream = new WatchStream(call, response, form);
  stream.open();
  try {
    start(call, stream, filter, revision, sendInitial);
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    stream.send("ERROR", error.toStatus());
    stream.end();
  }
}

// A revision from the future is refused at once; any other starts there, none at the present state.
function startRevision(call: Call, sendInitial: string | null): number | undefined {
  const revision = requestedRevision(call);
  return sendInitial !== null && isTrue(sendInitial) ? undefined : revision;
}

function start(
  call: Call,
  stream: WatchStream,
  filter: Filter,
  revision: number | undefined,
  sendInitial: string | null,
): void {
  const { api, resource, info } = call;
  const storage = storageOf(resource);
  const from = revision ?? api.store.revision;
  if (revision === undefined && (sendInitial === null || isTrue(sendInitial))) {
    for (const [, stored] of api.store.listSorted(storage.group, storage.plural, info.namespace)) {
      const object = present(resource, stored);
      if (filter(object)) stream.sendObject("ADDED", object);
    }
  }
  if (sendInitial !== null && isTrue(sendInitial) && isTrue(info.query.get("allowWatchBookmarks")))
    stream.bookmark(from, { [INITIAL_EVENTS_END]: "true" });
  const stop = api.store.watch(storage.group, storage.plural, from, (event) =>
    deliver(call, stream, filter, event),
  );
  stream.whenClosed(stop);
}

// A change in what the selectors see: an object that stops matching is deleted for this client.
function deliver(call: Call, stream: WatchStream, filter: Filter, event: StoreEvent): void {
  const { resource, info } = call;
  if (info.namespace && resource.namespaced && event.object.metadata.namespace !== info.namespace) return;
  const object = present(resource, event.object);
  const before = event.previous !== undefined && filter(present(resource, event.previous));
  const after = event.type !== "DELETED" && filter(object);
  if (after) stream.sendObject(before ? "MODIFIED" : "ADDED", object);
  else if (before && event.type === "DELETED") stream.sendObject("DELETED", object);
  else if (before) {
    const last = present(resource, event.previous!);
    const { resourceVersion } = object.metadata;
    stream.sendObject("DELETED", { ...last, metadata: { ...last.metadata, resourceVersion } });
  }
}

class WatchStream {
  readonly #call: Call;
  readonly #response: ServerResponse;
  readonly #form: Representation;

  constructor(call: Call, response: ServerResponse, form: Representation) {
    this.#call = call;
    this.#response = response;
    this.#form = form;
  }

  open(): void {
    const { query } = this.#call.info;
    const type = this.#form.yaml ? "application/yaml;stream=watch" : "application/json";
    this.#response.writeHead(200, { "content-type": type, "cache-control": "no-cache, private" });
    this.#response.flushHeaders();
    const asked = Number(query.get("timeoutSeconds") ?? 0);
    const seconds = asked > 0 ? asked : 1800 + Math.random() * 1800;
    const timers = [setTimeout(() => this.#expire(), seconds * 1000)];
    if (isTrue(query.get("allowWatchBookmarks")))
      timers.push(setInterval(() => this.bookmark(this.#call.api.store.revision), BOOKMARK_INTERVAL_MS));
    this.whenClosed(() => timers.forEach(clearTimeout));
  }

  whenClosed(action: () => void): void {
    if (this.#response.destroyed) action();
    else this.#response.once("close", action);
  }

  #expire(): void {
    if (isTrue(this.#call.info.query.get("allowWatchBookmarks")))
      this.bookmark(this.#call.api.store.revision);
    this.end();
  }

  sendObject(type: string, object: KubeObject): void {
    const shown = representObject(this.#call.resource, object, this.#form);
    this.#write(type, shown === object ? cachedJson(object) : JSON.stringify(shown));
  }

  send(type: string, object: KubeObject): void {
    this.#write(type, JSON.stringify(object));
  }

  bookmark(revision: number, annotations?: Record<string, string>): void {
    const { resource } = this.#call;
    const metadata: KubeObject = { resourceVersion: String(revision), creationTimestamp: null };
    if (annotations !== undefined) metadata.annotations = annotations;
    const object = { kind: resource.kind, apiVersion: groupVersion(resource), metadata };
    if (this.#form.as === "table")
      this.send("BOOKMARK", {
        kind: "Table",
        apiVersion: `meta.k8s.io/${this.#form.version}`,
        metadata: { resourceVersion: String(revision) },
        columnDefinitions: resource.columns,
        rows: [
          { cells: resource.columns.map(() => null), object: { ...object, kind: "PartialObjectMetadata" } },
        ],
      });
    else this.send("BOOKMARK", object);
  }

  #write(type: string, json: string): void {
    if (this.#response.writableEnded || this.#response.destroyed) return;
    const line = `{"type":"${type}","object":${json}}\n`;
    this.#response.write(this.#form.yaml ? `${toYaml(JSON.parse(line))}---\n` : line);
    if (this.#response.writableLength > MAX_BUFFERED_BYTES) this.#response.destroy();
  }

  end(): void {
    this.#response.end();
  }
}
