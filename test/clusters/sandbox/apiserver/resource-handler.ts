// SPDX-License-Identifier: Apache-2.0
// The verbs on a kind's objects.
import type { IncomingMessage, ServerResponse } from "node:http";
import { type Call, checkBody, present, storageOf } from "./api.ts";
import { deleteAnswer, deleteObject, deleteOptions } from "./delete.ts";
import { answer, mediaType, readBody, readObjectBody } from "./http-answer.ts";
import { listObjects } from "./list.ts";
import { patchObject } from "./patch/patch-object.ts";
import { negotiate, type Representation, representList, representObject } from "./representation.ts";
import type { KubeObject } from "./resources/index.ts";
import { badRequest, invalid, methodNotAllowed } from "./status.ts";
import { serveWatch } from "./watch.ts";
import { admitted } from "./webhooks/admission.ts";
import { createObject, getObject, updateObject } from "./write.ts";

/** One exchange over HTTP. */
export interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
}

/** What a handler hands back to be written in the form that the client asked for. */
export interface Answer {
  code: number;
  object: KubeObject;
}

/** Answers a request for a kind's objects, without subresource. */
export async function handleResource(call: Call, exchange: Exchange): Promise<void> {
  const { info, resource } = call;
  if (!resource.verbs.includes(info.verb)) throw methodNotAllowed();
  const form = negotiate(exchange.request.headers.accept, info.query);
  if (info.verb === "watch") return serveWatch(call, exchange.response, form);
  if (info.verb === "list") {
    const { items, metadata } = listObjects(call);
    answer(exchange.response, 200, representList(resource, items, metadata, form), { yaml: form.yaml });
    return;
  }
  write(call, exchange, form, await answerFor(call, exchange.request));
}

/** Writes an object in the form asked for, with the warnings gathered. */
export function write(call: Call, exchange: Exchange, form: Representation, result: Answer): void {
  const body = representObject(call.resource, result.object, form);
  answer(exchange.response, result.code, body, { warnings: call.warnings, yaml: form.yaml });
}

async function answerFor(call: Call, request: IncomingMessage): Promise<Answer> {
  const { info } = call;
  switch (info.verb) {
    case "get":
      return { code: 200, object: getObject(call) };
    case "create": {
      if (info.name !== "") throw methodNotAllowed();
      const object = await readObject(call, request);
      if (call.resource.namespaced && info.namespace === undefined && !object.metadata?.namespace)
        throw badRequest("an empty namespace may not be set during creation");
      return {
        code: 201,
        object: await admitted(call, (inner) => createObject(inner, structuredClone(object))),
      };
    }
    case "update":
      return { code: 200, object: await replace(call, request, "update") };
    case "patch":
      return await patch(call, request, "update");
    case "delete": {
      const body = await readObjectBody(request);
      const options = deleteOptions(call, body);
      const result = await admitted(call, (inner) => deleteObject(inner, getObject(inner), options));
      return { code: 200, object: deleteAnswer(call, result) };
    }
    case "deletecollection":
      return { code: 200, object: await deleteCollection(call, request) };
    default:
      throw methodNotAllowed();
  }
}

/** Reads an object from a request. Throws a 400. */
export async function readObject(call: Call, request: IncomingMessage): Promise<KubeObject> {
  const object = await readObjectBody(request);
  if (object === undefined) throw badRequest("the request has no body");
  checkBody(call, object);
  return object;
}

/** PUT of an object or its status. */
export async function replace(
  call: Call,
  request: IncomingMessage,
  operation: "update" | "status",
): Promise<KubeObject> {
  const object = await readObject(call, request);
  const { name } = call.info;
  object.metadata.name ??= name;
  if (object.metadata.name !== name)
    throw badRequest(
      `the name of the object (${object.metadata.name}) does not match the name on the URL (${name})`,
    );
  getObject(call);
  if (call.resource.custom === true && !object.metadata.resourceVersion)
    throw invalid(call.resource, name, [
      {
        field: "metadata.resourceVersion",
        reason: "FieldValueInvalid",
        message: "Invalid value: 0x0: must be specified for an update",
      },
    ]);
  return await admitted(call, (inner) =>
    updateObject(inner, getObject(inner), structuredClone(object), { operation }),
  );
}

/** PATCH of an object or its status. */
export async function patch(
  call: Call,
  request: IncomingMessage,
  operation: "update" | "status",
): Promise<Answer> {
  const body = { contentType: mediaType(request), text: await readBody(request) };
  const { object, created } = await admitted(call, (inner) => patchObject(inner, body, operation));
  return { code: created ? 201 : 200, object };
}

async function deleteCollection(call: Call, request: IncomingMessage): Promise<KubeObject> {
  const body = await readObjectBody(request);
  const options = deleteOptions(call, body);
  const { items, metadata } = listObjects(call);
  const { preconditions: _preconditions, ...each } = options;
  for (const object of items)
    await admitted(call, (inner) => {
      const { namespace, name } = object.metadata;
      const { group, plural } = storageOf(inner.resource);
      const current = inner.api.store.get(group, plural, namespace, name);
      return current === undefined ? undefined : deleteObject(inner, present(inner.resource, current), each);
    });
  return representList(call.resource, items, metadata, negotiate(undefined, call.info.query));
}
