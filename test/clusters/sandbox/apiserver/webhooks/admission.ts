// SPDX-License-Identifier: Apache-2.0
// Admission by webhooks. Writing an object is synchronous, so that nothing comes between reading and storing; asking
// a webhook is not. A write that webhooks want to see is given up where it stands, they are asked, and it begins
// again with their answers at hand.
import type { Admission, Call } from "../api.ts";
import type { KubeObject } from "../resources/index.ts";
import { StatusError } from "../status.ts";
import { callWebhook } from "./call-webhook.ts";
import { type Attributes, matchesWebhook } from "./match.ts";

const GROUP = "admissionregistration.k8s.io";
const PLURALS = {
  mutating: "mutatingwebhookconfigurations",
  validating: "validatingwebhookconfigurations",
} as const;
/** How often an object may change under webhooks that are being asked about it. */
const MAX_ROUNDS = 10;

type Phase = keyof typeof PLURALS;

// Webhooks have no say about what registers webhooks, so that a broken one can be removed.
function webhooks(call: Call, phase: Phase): KubeObject[] {
  if (call.resource.group === GROUP) return [];
  return call.api.store
    .list(GROUP, PLURALS[phase])
    .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
    .flatMap((configuration) => configuration.webhooks ?? []);
}

async function ask(call: Call, phase: Phase, attributes: Attributes): Promise<KubeObject | undefined> {
  const isWanted = (webhook: KubeObject, now: Attributes) => matchesWebhook(webhook, call, now);
  if (phase === "validating") {
    const wanted = webhooks(call, phase).filter((webhook) => isWanted(webhook, attributes));
    await Promise.all(wanted.map((webhook) => callWebhook(webhook, call, attributes, false)));
    return attributes.object;
  }
  let { object } = attributes;
  for (const webhook of webhooks(call, phase)) {
    const now = { ...attributes, object };
    if (isWanted(webhook, now)) object = await callWebhook(webhook, call, now, true);
  }
  return object;
}

/** Asks all webhooks about what is no plain write (evictions, bindings, streams). Returns the object as they want it. */
export async function review(call: Call, attributes: Attributes): Promise<KubeObject | undefined> {
  const object = await ask(call, "mutating", attributes);
  return await ask(call, "validating", { ...attributes, object });
}

/** Ends a write whose webhooks are yet to be asked. */
class Unreviewed extends Error {
  readonly ask: () => Promise<void>;

  constructor(ask: () => Promise<void>) {
    super("webhooks are yet to be asked");
    this.ask = ask;
  }
}

interface Answer {
  object: KubeObject | undefined;
  /** Of what was there before: when that has changed since, the answer is void. */
  resourceVersion: string | undefined;
}

/** The answers of webhooks about one write. */
class WebhookAdmission implements Admission {
  readonly #call: Call;
  readonly #answers = new Map<Phase, Answer>();

  constructor(call: Call) {
    this.#call = call;
  }

  mutate(call: Call, object: KubeObject | undefined, previous: KubeObject | undefined): void {
    const answer = this.#answer(call, "mutating", { object, previous });
    if (object === undefined || answer?.object === undefined) return;
    const { uid, creationTimestamp } = object.metadata;
    for (const field of Object.keys(object)) delete object[field];
    Object.assign(object, structuredClone(answer.object));
    Object.assign(object.metadata, { uid, creationTimestamp });
  }

  validate(call: Call, object: KubeObject | undefined, previous: KubeObject | undefined): void {
    this.#answer(call, "validating", { object, previous });
  }

  #answer(
    call: Call,
    phase: Phase,
    { object, previous }: { object: KubeObject | undefined; previous: KubeObject | undefined },
  ): Answer | undefined {
    const resourceVersion = previous?.metadata.resourceVersion;
    const known = this.#answers.get(phase);
    if (known !== undefined && known.resourceVersion === resourceVersion) return known;
    const { group, version, kind } = call.resource;
    const attributes: Attributes = {
      operation: object === undefined ? "DELETE" : previous === undefined ? "CREATE" : "UPDATE",
      kind: { group, version, kind },
      object: object === undefined ? undefined : structuredClone(object),
      oldObject: previous,
    };
    if (!webhooks(call, phase).some((webhook) => matchesWebhook(webhook, call, attributes))) return undefined;
    throw new Unreviewed(async () => {
      const asked = { ...call, warnings: this.#call.warnings };
      this.#answers.set(phase, { object: await ask(asked, phase, attributes), resourceVersion });
    });
  }
}

/** Runs a write with its webhooks' consent. `write` may run several times, and must not change what it closes over. */
export async function admitted<T>(call: Call, write: (call: Call) => T): Promise<T> {
  if (webhooks(call, "mutating").length + webhooks(call, "validating").length === 0) return write(call);
  const admission = new WebhookAdmission(call);
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const warnings: string[] = [];
    try {
      const result = write({ ...call, admission, warnings });
      call.warnings.push(...warnings);
      return result;
    } catch (error) {
      if (!(error instanceof Unreviewed)) throw error;
      await error.ask();
    }
  }
  throw new StatusError(409, "Conflict", "the object has been modified while webhooks were asked about it");
}
