// SPDX-License-Identifier: Apache-2.0
import type { KubeClient } from "../../../../lib/kube.ts";
import { isAlreadyExists } from "../../../../lib/kube-errors.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { newSetReplicas, rolloutBounds, wantedReplicas } from "./deployment-math.ts";
import { hashLabel, newReplicaSet, revisionOf, setAnnotations } from "./deployment-sets.ts";
import { progressing } from "./deployment-status.ts";
import type { EventRecorder } from "./event-recorder.ts";
import { controllerOf } from "./ownership.ts";
import type { Condition } from "./pod-state.ts";
import { sameTemplate } from "./pod-template.ts";
import { pathOf, resources } from "./resources.ts";
import { writeStatus } from "./status-write.ts";

/** One Deployment with its ReplicaSets, as one round finds and changes them. */
export interface Rollout {
  deployment: KubeObject;
  newSet: KubeObject | undefined;
  old: KubeObject[];
  /** Set when this round found or made another new ReplicaSet than the last one. */
  begun?: Condition;
}

/** Creates and scales the ReplicaSets of Deployments, and tells of it in events. */
export class DeploymentWrites {
  readonly #client: KubeClient;
  readonly #events: EventRecorder;

  constructor(client: KubeClient, events: EventRecorder) {
    this.#client = client;
    this.#events = events;
  }

  /** Finds or creates the ReplicaSet of the current template and keeps revisions in order. */
  async ensureNewSet(rollout: Rollout): Promise<KubeObject> {
    const { deployment, old } = rollout;
    const revision = Math.max(0, ...old.map(revisionOf)) + 1;
    const found = rollout.newSet !== undefined;
    let set: KubeObject;
    if (rollout.newSet === undefined) {
      const made = newReplicaSet(deployment, revision, newSetReplicas(deployment, old, undefined));
      set = await this.#createSet(rollout, made);
      if (wantedReplicas(set) > 0) this.#announceScale(deployment, set, 0, wantedReplicas(set));
    } else {
      set = rollout.newSet;
      const annotations = setAnnotations(deployment, set, Math.max(revision, revisionOf(set)));
      const minReadySeconds = deployment.spec.minReadySeconds;
      if (annotations !== undefined || set.spec.minReadySeconds !== minReadySeconds)
        set = await this.#client.replace(
          pathOf(resources.replicaSets, set.metadata.namespace, set.metadata.name),
          {
            ...set,
            metadata: { ...set.metadata, annotations: annotations ?? set.metadata.annotations },
            spec: { ...set.spec, minReadySeconds },
          },
        );
    }
    rollout.newSet = set;
    if (await this.#noteRevision(rollout, set))
      rollout.begun = found
        ? progressing("True", "FoundNewReplicaSet", `Found new replica set "${set.metadata.name}"`)
        : progressing("True", "NewReplicaSetCreated", `Created new replica set "${set.metadata.name}"`);
    return set;
  }

  async #createSet(rollout: Rollout, made: KubeObject): Promise<KubeObject> {
    const { deployment } = rollout;
    const { namespace, name } = made.metadata;
    try {
      return await this.#client.create(pathOf(resources.replicaSets, namespace), made);
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      const present = await this.#client.get(pathOf(resources.replicaSets, namespace, name));
      if (
        controllerOf(present)?.uid === deployment.metadata.uid &&
        sameTemplate(present.spec.template, deployment.spec.template, hashLabel)
      )
        return present;
      // Another template hashes to the same name: the count makes the next hash differ.
      const collisionCount = (deployment.status?.collisionCount ?? 0) + 1;
      await writeStatus(this.#client, resources.deployments, deployment, {
        ...deployment.status,
        collisionCount,
      });
      throw error;
    }
  }

  async #noteRevision(rollout: Rollout, set: KubeObject): Promise<boolean> {
    const { deployment } = rollout;
    const revision = set.metadata.annotations?.["deployment.kubernetes.io/revision"];
    if (deployment.metadata.annotations?.["deployment.kubernetes.io/revision"] === revision) return false;
    rollout.deployment = await this.#client.replace(
      pathOf(resources.deployments, deployment.metadata.namespace, deployment.metadata.name),
      {
        ...deployment,
        metadata: {
          ...deployment.metadata,
          annotations: {
            ...deployment.metadata.annotations,
            "deployment.kubernetes.io/revision": revision,
          },
        },
      },
    );
    return true;
  }

  #announceScale(deployment: KubeObject, set: KubeObject, from: number, to: number): void {
    const verb = to > from ? "up" : "down";
    const text = `Scaled ${verb} replica set ${set.metadata.name} from ${from} to ${to}`;
    this.#events.normal(deployment, "ScalingReplicaSet", text);
  }

  /** Scales a ReplicaSet and notes the bounds of its Deployment on it. */
  async scaleSet(deployment: KubeObject, set: KubeObject, replicas: number): Promise<KubeObject> {
    const { maxSurge } = rolloutBounds(deployment);
    const wanted = wantedReplicas(deployment);
    const bounds = {
      "deployment.kubernetes.io/desired-replicas": String(wanted),
      "deployment.kubernetes.io/max-replicas": String(wanted + maxSurge),
    };
    const before = wantedReplicas(set);
    const isNoted = Object.entries(bounds).every(([key, value]) => set.metadata.annotations?.[key] === value);
    if (before === replicas && isNoted) return set;
    const scaled = await this.#client.replace(
      pathOf(resources.replicaSets, set.metadata.namespace, set.metadata.name),
      {
        ...set,
        metadata: { ...set.metadata, annotations: { ...set.metadata.annotations, ...bounds } },
        spec: { ...set.spec, replicas },
      },
    );
    if (before !== replicas) this.#announceScale(deployment, set, before, replicas);
    return scaled;
  }
}
