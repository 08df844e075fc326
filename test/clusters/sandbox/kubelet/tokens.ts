// SPDX-License-Identifier: Apache-2.0
import { type KubeClient, resourcePath } from "../../../../lib/kube.ts";
import { type Pod, podUid } from "./pod.ts";

interface Token {
  text: string;
  issuedMs: number;
  expiresMs: number;
}

/** Service account tokens bound to pods; a token is asked for anew when a fifth of its life is left. */
export class TokenSource {
  readonly #client: KubeClient;
  readonly #tokens = new Map<string, Token>();

  constructor(client: KubeClient) {
    this.#client = client;
  }

  async token(pod: Pod, audience: string | undefined, expirationSeconds = 3600): Promise<string> {
    const key = [podUid(pod), audience, expirationSeconds].join("\u0000");
    const known = this.#tokens.get(key);
    if (known !== undefined && Date.now() < known.issuedMs + 0.8 * (known.expiresMs - known.issuedMs))
      return known.text;
    const { namespace, name, uid } = pod.metadata;
    const account = pod.spec.serviceAccountName ?? "default";
    const answer = await this.#client.create<any>(
      `${resourcePath("v1", "serviceaccounts", namespace, account)}/token`,
      {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenRequest",
        spec: {
          audiences: audience === undefined ? [] : [audience],
          expirationSeconds,
          boundObjectRef: { kind: "Pod", apiVersion: "v1", name, uid },
        },
      },
    );
    const { token, expirationTimestamp } = answer.status;
    this.#tokens.set(key, { text: token, issuedMs: Date.now(), expiresMs: Date.parse(expirationTimestamp) });
    return token;
  }

  /** Drops a pod's tokens when the pod is gone. */
  forget(uid: string): void {
    for (const key of this.#tokens.keys()) if (key.startsWith(`${uid}\u0000`)) this.#tokens.delete(key);
  }
}
