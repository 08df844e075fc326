// SPDX-License-Identifier: Apache-2.0
// What hangs below an object: status, scale, binding, eviction, tokens, and the streams of its kubelet.
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { type Call, checkBody } from "../api.ts";
import { answer, answerText, mediaType, readBody } from "../http-answer.ts";
import { patchDocument } from "../patch/patch-object.ts";
import { negotiate } from "../representation.ts";
import { type Answer, type Exchange, patch, readObject, replace, write } from "../resource-handler.ts";
import type { KubeObject } from "../resources/index.ts";
import { methodNotAllowed } from "../status.ts";
import { review } from "../webhooks/admission.ts";
import { getObject, updateObject } from "../write.ts";
import { bindPod } from "./binding.ts";
import { evictPod } from "./eviction.ts";
import { handleScale } from "./scale.ts";
import { requestToken } from "./token.ts";

/** A connection that changes protocol. */
export interface UpgradeExchange {
  request: IncomingMessage;
  socket: Duplex;
  head: Buffer;
}

/** Where requests go that a kubelet, a pod or a service answers. */
export interface StreamTarget {
  forward(call: Call, exchange: Exchange): Promise<void>;
  upgrade(call: Call, exchange: UpgradeExchange): Promise<void>;
}

const STREAMS = ["log", "exec", "attach", "portforward", "proxy"];

/** Answers a request for a subresource. */
export async function handleSubresource(call: Call, exchange: Exchange, stream: StreamTarget): Promise<void> {
  const { resource, info } = call;
  if (!resource.subresources.includes(info.subresource))
    return answerText(exchange.response, 404, "404 page not found\n");
  if (STREAMS.includes(info.subresource)) {
    if (info.subresource !== "log") await reviewConnect(call);
    return await stream.forward(call, exchange);
  }
  const form = negotiate(exchange.request.headers.accept, info.query);
  const result = await answerFor(call, exchange.request);
  if (result.object.kind === resource.kind) return write(call, exchange, form, result);
  answer(exchange.response, result.code, result.object, { warnings: call.warnings, yaml: form.yaml });
}

async function answerFor(call: Call, request: IncomingMessage): Promise<Answer> {
  const { subresource } = call.info;
  switch (subresource) {
    case "scale":
      return await handleScale(call, request);
    case "binding":
      return { code: 201, object: bindPod(call, await reviewed(call, request, "Binding", "v1")) };
    case "eviction":
      return { code: 201, object: evictPod(call, await reviewed(call, request, "Eviction", "policy/v1")) };
    case "token":
      return {
        code: 201,
        object: requestToken(call, await readAny(call, request, "TokenRequest", "authentication.k8s.io/v1")),
      };
    case "finalize":
      return { code: 200, object: await finalizeNamespace(call, request) };
    case "ephemeralcontainers":
    case "resize":
      return await podPart(call, request);
    default:
      return await objectPart(
        call,
        request,
        subresource === "status" || subresource === "approval" ? "status" : "update",
      );
  }
}

async function objectPart(
  call: Call,
  request: IncomingMessage,
  operation: "update" | "status",
): Promise<Answer> {
  switch (call.info.verb) {
    case "get":
      return { code: 200, object: getObject(call) };
    case "update":
      return { code: 200, object: await replace(call, request, operation) };
    case "patch":
      return await patch(call, request, operation);
    default:
      throw methodNotAllowed();
  }
}

// Of the pod only this part changes, which a plain update may not touch.
async function podPart(call: Call, request: IncomingMessage): Promise<Answer> {
  const { info } = call;
  if (info.verb === "get") return { code: 200, object: getObject(call) };
  if (info.verb !== "update" && info.verb !== "patch") throw methodNotAllowed();
  const isPatch = info.verb === "patch";
  const sent = isPatch ? await readBody(request) : await readObject(call, request);
  const previous = getObject(call);
  const wanted =
    typeof sent === "string"
      ? patchDocument(call, previous, { contentType: mediaType(request), text: sent })
      : sent;
  const part = info.subresource === "resize" ? "containers" : "ephemeralContainers";
  const object: KubeObject = structuredClone(previous);
  object.spec[part] = wanted.spec?.[part] ?? [];
  if (wanted.metadata?.resourceVersion) object.metadata.resourceVersion = wanted.metadata.resourceVersion;
  const { validate: _validate, ...resource } = call.resource;
  return { code: 200, object: updateObject({ ...call, resource }, previous, object) };
}

/** Asks webhooks about a stream to a pod, a node or a service. Throws a StatusError. */
export async function reviewConnect(call: Call): Promise<void> {
  const { info, resource } = call;
  const options: Record<string, string> = { exec: "Exec", attach: "Attach", portforward: "PortForward" };
  const kind = `${resource.kind}${options[info.subresource] ?? "Proxy"}Options`;
  const object = { apiVersion: "v1", kind, metadata: { name: info.name, namespace: info.namespace } };
  await review(call, {
    operation: "CONNECT",
    kind: { group: "", version: "v1", kind },
    object,
    oldObject: undefined,
  });
}

async function reviewed(
  call: Call,
  request: IncomingMessage,
  kind: string,
  apiVersion: string,
): Promise<KubeObject> {
  const object = await readAny(call, request, kind, apiVersion);
  const [version = "", group = ""] = apiVersion.split("/").reverse();
  const about = { kind: { group, version, kind }, object, oldObject: undefined };
  return (await review(call, { operation: "CREATE", ...about })) ?? object;
}

// A body of another kind than the resource's own.
async function readAny(
  call: Call,
  request: IncomingMessage,
  kind: string,
  apiVersion: string,
): Promise<KubeObject> {
  if (call.info.verb !== "create") throw methodNotAllowed();
  const [version = "", group = ""] = apiVersion.split("/").reverse();
  return await readObject({ ...call, resource: { ...call.resource, kind, group, version } }, request);
}

async function finalizeNamespace(call: Call, request: IncomingMessage): Promise<KubeObject> {
  if (call.info.verb !== "update") throw methodNotAllowed();
  const sent = await readObject(call, request);
  checkBody(call, sent);
  const previous = getObject(call);
  const { prepare: _prepare, ...resource } = call.resource;
  const object: KubeObject = {
    ...structuredClone(previous),
    spec: { ...previous.spec, finalizers: sent.spec?.finalizers ?? [] },
  };
  if (sent.metadata.resourceVersion) object.metadata.resourceVersion = sent.metadata.resourceVersion;
  if (object.spec.finalizers.length === 0) delete object.spec.finalizers;
  return updateObject({ ...call, resource }, previous, object, { trusted: true });
}
