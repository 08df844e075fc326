// SPDX-License-Identifier: Apache-2.0
// The part of the reflect-metadata proposal that @peculiar/x509's dependency (tsyringe) demands at import.
const metadata = new WeakMap<object, Map<unknown, unknown>>();

function own(key: unknown, target: object): unknown {
  return metadata.get(target)?.get(key);
}

function inherited(key: unknown, target: object | null): unknown {
  for (let at = target; at !== null; at = Object.getPrototypeOf(at)) {
    const value = own(key, at);
    if (value !== undefined) return value;
  }
  return undefined;
}

function define(key: unknown, value: unknown, target: object): void {
  const entries = metadata.get(target) ?? new Map<unknown, unknown>();
  metadata.set(target, entries.set(key, value));
}

if (!("getMetadata" in Reflect))
  Object.assign(Reflect, {
    defineMetadata: define,
    getMetadata: inherited,
    getOwnMetadata: own,
    hasOwnMetadata: (key: unknown, target: object) => own(key, target) !== undefined,
    metadata: (key: unknown, value: unknown) => (target: object) => define(key, value, target),
  });
