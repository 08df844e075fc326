// SPDX-License-Identifier: Apache-2.0
import { randomBytes } from "node:crypto";
import type { KubeObject } from "../../lib/kube-object.ts";
import type { Json } from "../model/journal.ts";
import type { NodeTaskKind } from "../model/tools.ts";
import { splitArgs } from "./task-document.ts";

interface PodRequest {
  kind: NodeTaskKind;
  node: string;
  args: Json;
  image: string;
  imagePullPolicy: string;
  imagePullSecrets: { name: string }[] | undefined;
  deadlineSeconds: number;
}

/**
 * The pod of a task: privileged, in the node's network and among its processes, by which it reaches the node's
 * files. It mounts nothing, asks the API server for nothing, tolerates everything and ends at its deadline.
 */
export function taskPod(request: PodRequest): KubeObject {
  const { kind, node, image, imagePullPolicy, imagePullSecrets } = request;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: `shunt-task-${kind}-${randomBytes(4).toString("hex")}`,
      labels: { "app.kubernetes.io/name": "shunt", "app.kubernetes.io/managed-by": "shunt" },
    },
    spec: {
      nodeName: node,
      hostNetwork: true,
      hostPID: true,
      dnsPolicy: "Default",
      restartPolicy: "Never",
      enableServiceLinks: false,
      automountServiceAccountToken: false,
      priorityClassName: "system-node-critical",
      tolerations: [{ operator: "Exists" }],
      terminationGracePeriodSeconds: 1,
      activeDeadlineSeconds: request.deadlineSeconds,
      ...(imagePullSecrets === undefined ? {} : { imagePullSecrets }),
      containers: [
        {
          name: "task",
          image,
          imagePullPolicy,
          command: [
            "/usr/local/bin/node",
            "--disable-warning=ExperimentalWarning",
            "/opt/shunt/bin/node-task.ts",
            kind,
            "--root=/proc/1/root",
          ],
          env: [{ name: "NODE_NAME", value: node }, ...splitArgs(request.args)],
          securityContext: { privileged: true },
        },
      ],
    },
  };
}
