// SPDX-License-Identifier: Apache-2.0
// Request bodies in Kubernetes' protobuf, which newer kubectl sends for built-in kinds. Answers are JSON.
import type { KubeObject } from "../resources/index.ts";
import { badRequest } from "../status.ts";
import messages from "./messages.json" with { type: "json" };

/** The media type of such bodies. */
export const PROTOBUF = "application/vnd.kubernetes.protobuf";

// "k8s\0", then a runtime.Unknown.
const MAGIC = Buffer.from([0x6b, 0x38, 0x73, 0x00]);
const MAX_DEPTH = 64;

interface Field {
  name: string;
  shape: "one" | "list" | "map";
  type: string;
}

type Wire = { number: number; value: bigint | Buffer };

const fieldsByType = new Map<string, Map<number, Field>>();

// A message is written `NUMBER NAME [list|map] TYPE; …`; the fields of one named `inline` are its parent's.
function fieldsOf(type: string): Map<number, Field> {
  let fields = fieldsByType.get(type);
  if (fields === undefined) {
    const text = (messages as Record<string, string>)[type];
    if (text === undefined) throw badRequest(`no protobuf form of ${type} is known here; send JSON`);
    fields = new Map();
    for (const entry of text.split("; ")) {
      const [number, name, ...rest] = entry.split(" ");
      const shape = rest.length === 2 ? (rest[0] as "list" | "map") : "one";
      fields.set(Number(number), { name: name!, shape, type: rest.at(-1)! });
    }
    fieldsByType.set(type, fields);
  }
  return fields;
}

function* readWire(bytes: Buffer): Generator<Wire> {
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) break;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw badRequest("proto: unexpected EOF");
  };
  const take = (length: number): Buffer => {
    if (length > bytes.length - at) throw badRequest("proto: unexpected EOF");
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const tag = varint();
    const number = Number(tag >> 3n);
    const kind = Number(tag & 7n);
    if (kind === 0) yield { number, value: varint() };
    else if (kind === 2) yield { number, value: take(Number(varint())) };
    else if (kind === 1 || kind === 5) yield { number, value: take(kind === 1 ? 8 : 4) };
    else throw badRequest(`proto: wiretype ${kind} is not supported`);
  }
}

// Go writes zero values of fields that are no pointers; in JSON they would have been left out. Of these
// fields zero and false are a choice of the author.
const MEANINGFUL_ZERO = new Set(
  `replicas parallelism completions backoffLimit gracePeriodSeconds terminationGracePeriodSeconds tolerationSeconds
   ttlSecondsAfterFinished activeDeadlineSeconds revisionHistoryLimit successfulJobsHistoryLimit
   failedJobsHistoryLimit startingDeadlineSeconds runAsUser runAsGroup fsGroup defaultMode mode priority value
   partition podStartSeconds seconds expirationSeconds automountServiceAccountToken enableServiceLinks privileged
   runAsNonRoot readOnlyRootFilesystem allowPrivilegeEscalation optional suspend immutable controller
   blockOwnerDeletion orphanDependents shareProcessNamespace hostUsers publishNotReadyAddresses
   allocateLoadBalancerNodePorts`.split(/\s+/),
);

function scalar(type: string, value: bigint | Buffer): unknown {
  if (type === "int" && typeof value === "bigint") return Number(BigInt.asIntN(64, value));
  if (type === "bool" && typeof value === "bigint") return value !== 0n;
  if (!(value instanceof Buffer)) throw badRequest("proto: wrong wireType");
  if (type === "string") return value.toString("utf8");
  if (type === "bytes") return value.toString("base64");
  if (type === "double" && value.length === 8) return value.readDoubleLE();
  throw badRequest("proto: wrong wireType");
}

const isScalar = (type: string): boolean => ["string", "int", "bool", "bytes", "double"].includes(type);

// Types whose JSON is not an object of their fields.
const SPECIAL: Record<string, (fields: Map<number, bigint | Buffer>) => unknown> = {
  "meta.v1.Time": (fields) => instant(fields, 0),
  "meta.v1.MicroTime": (fields) => instant(fields, 6),
  "meta.v1.FieldsV1": (fields) => JSON.parse(text(fields.get(1)) || "{}"),
  "runtime.RawExtension": (fields) => JSON.parse(text(fields.get(1)) || "null"),
  "api.resource.Quantity": (fields) => text(fields.get(1)) || "0",
  "util.intstr.IntOrString": (fields) =>
    integer(fields.get(1)) === 1 ? text(fields.get(3)) : integer(fields.get(2)),
  "meta.v1.Duration": (fields) => `${integer(fields.get(1)) / 1e9}s`,
};

const text = (value: bigint | Buffer | undefined): string =>
  value instanceof Buffer ? value.toString("utf8") : "";
const integer = (value: bigint | Buffer | undefined): number =>
  typeof value === "bigint" ? Number(BigInt.asIntN(64, value)) : 0;

function instant(fields: Map<number, bigint | Buffer>, digits: number): string | undefined {
  if (fields.size === 0) return undefined;
  const seconds = integer(fields.get(1));
  if (seconds < 0) return undefined;
  const iso = new Date(seconds * 1000).toISOString().slice(0, 19);
  if (digits === 0) return `${iso}Z`;
  return `${iso}.${String(Math.floor(integer(fields.get(2)) / 1000)).padStart(digits, "0")}Z`;
}

function decodeValue(type: string, value: bigint | Buffer, depth: number): unknown {
  if (isScalar(type)) return scalar(type, value);
  if (!(value instanceof Buffer)) throw badRequest("proto: wrong wireType");
  const special = SPECIAL[type];
  if (special !== undefined)
    return special(new Map([...readWire(value)].map((field) => [field.number, field.value])));
  const object = decodeMessage(type, value, depth + 1);
  return type.endsWith(".ExtraValue") ? (object.items ?? []) : object;
}

function decodeMessage(type: string, bytes: Buffer, depth: number): KubeObject {
  if (depth > MAX_DEPTH) throw badRequest("proto: nested too deeply");
  const fields = fieldsOf(type);
  const object: KubeObject = {};
  for (const { number, value } of readWire(bytes)) {
    const field = fields.get(number);
    if (field === undefined) continue;
    if (field.shape === "map") {
      const entry = new Map([...readWire(value as Buffer)].map((part) => [part.number, part.value]));
      object[field.name] ??= {};
      const item = entry.get(2);
      const decoded = item === undefined ? "" : decodeValue(field.type, item, depth);
      Object.defineProperty(object[field.name], text(entry.get(1)), {
        value: decoded,
        enumerable: true,
        configurable: true,
        writable: true,
      });
    } else if (field.shape === "list") {
      object[field.name] ??= [];
      object[field.name].push(decodeValue(field.type, value, depth));
    } else if (field.name === "inline") Object.assign(object, decodeValue(field.type, value, depth));
    else setOne(object, field, decodeValue(field.type, value, depth));
  }
  return object;
}

function setOne(object: KubeObject, field: Field, value: unknown): void {
  if (value === undefined || value === "") return;
  if ((value === 0 || value === false) && !MEANINGFUL_ZERO.has(field.name) && isScalar(field.type)) return;
  object[field.name] = value;
}

// The envelope says what kind it holds.
function unwrap(body: Buffer): { apiVersion: string; kind: string; raw: Buffer } {
  if (!body.subarray(0, 4).equals(MAGIC))
    throw badRequest("provided data does not appear to be a protobuf message");
  const unknown = new Map([...readWire(body.subarray(4))].map((field) => [field.number, field.value]));
  const typeMeta = unknown.get(1);
  if (!(typeMeta instanceof Buffer)) throw badRequest("the protobuf message names no kind");
  const meta = new Map([...readWire(typeMeta)].map((field) => [field.number, field.value]));
  const raw = unknown.get(2);
  return {
    apiVersion: text(meta.get(1)),
    kind: text(meta.get(2)),
    raw: raw instanceof Buffer ? raw : Buffer.alloc(0),
  };
}

/** Decodes a request body into the object its JSON would have been. Throws a 400. */
export function decodeProtobuf(body: Buffer): KubeObject {
  const { apiVersion, kind, raw } = unwrap(body);
  const [version = "", group = ""] = apiVersion.split("/").reverse();
  const folder = group === "" ? "core" : group.split(".")[0]!;
  const type = kind === "DeleteOptions" ? "meta.v1.DeleteOptions" : `${folder}.${version}.${kind}`;
  return { apiVersion, kind, ...decodeMessage(type, raw, 0) };
}
