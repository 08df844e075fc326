// SPDX-License-Identifier: Apache-2.0
// One question to one webhook, and what its answer means.
import { randomUUID } from "node:crypto";
import https from "node:https";
import { isIP } from "node:net";
import { hostPort } from "../../../../../lib/addresses.ts";
import { errorMessage } from "../../../../../lib/errors.ts";
import type { Call } from "../api.ts";
import { applyJsonPatch } from "../patch/json-patch.ts";
import type { KubeObject } from "../resources/index.ts";
import { StatusError } from "../status.ts";
import type { Attributes } from "./match.ts";

const MAX_ANSWER_BYTES = 3 * 1024 * 1024;

interface Destination {
  url: URL;
  /** Where to connect to when that is not the URL's host. */
  host?: string;
}

function destinationOf(webhook: KubeObject, call: Call): Destination {
  const { url, service } = webhook.clientConfig ?? {};
  if (url) return { url: new URL(url) };
  const { namespace, name, path = "", port = 443 } = service ?? {};
  const found = call.api.store.get("", "services", namespace, name);
  if (found === undefined) throw new Error(`service ${JSON.stringify(name)} not found`);
  const host = found.spec?.type === "ExternalName" ? found.spec.externalName : found.spec?.clusterIP;
  if (!host || host === "None") throw new Error(`service ${JSON.stringify(name)} has no cluster address`);
  const rest = path.startsWith("/") || path === "" ? path : `/${path}`;
  return { url: new URL(`https://${hostPort(`${name}.${namespace}.svc`, port)}${rest}`), host };
}

async function post(to: Destination, webhook: KubeObject, body: string): Promise<any> {
  const { caBundle } = webhook.clientConfig ?? {};
  const timeoutSeconds = webhook.timeoutSeconds ?? 10;
  to.url.searchParams.set("timeout", `${timeoutSeconds}s`);
  const urlHost = to.url.hostname.replace(/^\[(.*)\]$/, "$1");
  const text = await new Promise<string>((resolve, reject) => {
    const fail = (error: unknown) =>
      reject(new Error(`failed to call webhook: Post "${to.url.href}": ${errorMessage(error)}`));
    const request = https.request(to.url, {
      method: "POST",
      agent: false,
      hostname: to.host ?? urlHost,
      servername: isIP(urlHost) === 0 ? urlHost : "",
      headers: {
        host: to.url.host,
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
      },
      ...(caBundle ? { ca: Buffer.from(caBundle, "base64") } : {}),
    });
    const timer = setTimeout(
      () => request.destroy(new Error("context deadline exceeded")),
      timeoutSeconds * 1000,
    );
    request.on("close", () => clearTimeout(timer));
    request.on("error", fail);
    request.on("response", async (response) => {
      try {
        let answer = "";
        for await (const chunk of response) {
          answer += chunk;
          if (answer.length > MAX_ANSWER_BYTES) throw new Error("the answer is too large");
        }
        if (response.statusCode !== 200)
          throw new Error(`the server responded with the status code ${response.statusCode}`);
        resolve(answer);
      } catch (error) {
        fail(error);
      }
    });
    request.end(body);
  });
  return JSON.parse(text);
}

function reviewOf(call: Call, attributes: Attributes): KubeObject {
  const { info, resource, user } = call;
  const { operation, kind, object = null, oldObject = null } = attributes;
  const place = { group: resource.group, version: resource.version, resource: resource.plural };
  const sub = info.subresource === "" ? {} : { subResource: info.subresource };
  const requestSub = info.subresource === "" ? {} : { requestSubResource: info.subresource };
  const metadata = (object ?? oldObject)?.metadata;
  const namespace = info.namespace ?? metadata?.namespace;
  return {
    apiVersion: "admission.k8s.io/v1",
    kind: "AdmissionReview",
    request: {
      uid: randomUUID(),
      kind,
      resource: place,
      ...sub,
      requestKind: kind,
      requestResource: place,
      ...requestSub,
      name: info.name || metadata?.name || "",
      ...(namespace === undefined ? {} : { namespace }),
      operation,
      userInfo: user,
      object,
      oldObject,
      dryRun: call.dryRun,
      options: null,
    },
  };
}

function denied(name: string, status: KubeObject | undefined): StatusError {
  const by = `admission webhook ${JSON.stringify(name)} denied the request`;
  const why = status?.message || status?.reason;
  return new StatusError(
    status?.code >= 400 ? status!.code : 400,
    status?.reason ?? "",
    why ? `${by}: ${why}` : `${by} without explanation`,
    status?.details,
  );
}

/**
 * Asks one webhook. Returns the object as it wants it (mutating webhooks only; else the object as it was). Throws a
 * StatusError when it refuses, any other error when it cannot be asked.
 */
async function ask(
  webhook: KubeObject,
  call: Call,
  attributes: Attributes,
  mutating: boolean,
): Promise<KubeObject | undefined> {
  const review = reviewOf(call, attributes);
  const answer = await post(destinationOf(webhook, call), webhook, JSON.stringify(review));
  const response = answer?.response;
  if (answer?.kind !== "AdmissionReview" || response?.uid !== review.request.uid)
    throw new Error(`expected an AdmissionReview with response.uid=${JSON.stringify(review.request.uid)}`);
  for (const warning of response.warnings ?? []) call.warnings.push(String(warning));
  if (response.allowed !== true) throw denied(webhook.name, response.status);
  if (!mutating || !response.patch || attributes.object === undefined) return attributes.object;
  if (response.patchType !== "JSONPatch")
    throw new Error(`unexpected patch type ${JSON.stringify(response.patchType)}`);
  try {
    const patch = JSON.parse(Buffer.from(response.patch, "base64").toString("utf8"));
    return applyJsonPatch(attributes.object, patch);
  } catch (error) {
    throw new Error(`the patch does not apply: ${errorMessage(error)}`);
  }
}

/** As `ask`, but heeds the webhook's failurePolicy and its side effects. Throws a StatusError. */
export async function callWebhook(
  webhook: KubeObject,
  call: Call,
  attributes: Attributes,
  mutating: boolean,
): Promise<KubeObject | undefined> {
  const name = JSON.stringify(webhook.name);
  if (call.dryRun && !["None", "NoneOnDryRun"].includes(webhook.sideEffects))
    throw new StatusError(400, "BadRequest", `admission webhook ${name} does not support dry run`);
  try {
    return await ask(webhook, call, attributes, mutating);
  } catch (error) {
    if (error instanceof StatusError) throw error;
    const why = `failed calling webhook ${name}: ${errorMessage(error)}`;
    call.api.log.warn("webhook failed", { webhook: webhook.name, error: errorMessage(error) });
    if (webhook.failurePolicy === "Ignore") return attributes.object;
    throw new StatusError(500, "InternalError", `Internal error occurred: ${why}`, {
      causes: [{ message: why }],
    });
  }
}
