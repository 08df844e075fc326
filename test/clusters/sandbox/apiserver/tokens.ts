// SPDX-License-Identifier: Apache-2.0
// Service account tokens: RS256 JWTs, bound to pods and nodes or (from Secrets) without end.
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  randomUUID,
  sign,
  verify,
} from "node:crypto";
import type { KubeObject, ObjectReader, UserInfo } from "./resources/index.ts";

/** What a token is made of. */
export interface TokenRequest {
  account: KubeObject;
  audiences: string[];
  expirationSeconds: number;
  bound?: { kind: string; apiVersion: string; name: string; uid: string };
  node?: { name: string; uid: string };
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url");
/** Who signs the tokens that Secrets hold, and what their private claims begin with. */
const LEGACY_ISSUER = "kubernetes/serviceaccount";
const LEGACY = "kubernetes.io/serviceaccount";

/** Signs and checks service account tokens. */
export class TokenAuthority {
  readonly issuer: string;
  readonly audience: string;
  readonly #signingKey: KeyObject;
  readonly #publicKeys: { id: string; key: KeyObject }[];

  constructor(options: { issuer: string; signingKeyPem: string; publicKeysPem: string[] }) {
    this.issuer = options.issuer;
    this.audience = options.issuer;
    this.#signingKey = createPrivateKey(options.signingKeyPem);
    const keys = [
      ...options.publicKeysPem.map((pem) => createPublicKey(pem)),
      createPublicKey(this.#signingKey),
    ];
    this.#publicKeys = keys.map((key) => ({ id: keyId(key), key }));
  }

  /** Makes a token; `expires` is in seconds since the epoch. */
  issue(request: TokenRequest, nowMs = Date.now()): { token: string; expires: number } {
    const now = Math.floor(nowMs / 1000);
    const expires = now + request.expirationSeconds;
    const { name, namespace, uid } = request.account.metadata;
    const bound = request.bound;
    const header = { alg: "RS256", kid: keyId(createPublicKey(this.#signingKey)) };
    const claims = {
      aud: request.audiences,
      exp: expires,
      iat: now,
      iss: this.issuer,
      jti: randomUUID(),
      "kubernetes.io": {
        namespace,
        ...(request.node === undefined ? {} : { node: request.node }),
        ...(bound === undefined ? {} : { [bound.kind.toLowerCase()]: { name: bound.name, uid: bound.uid } }),
        serviceaccount: { name, uid },
      },
      nbf: now,
      sub: `system:serviceaccount:${namespace}:${name}`,
    };
    const signed = `${encode(header)}.${encode(claims)}`;
    const signature = sign("sha256", Buffer.from(signed), this.#signingKey).toString("base64url");
    return { token: `${signed}.${signature}`, expires };
  }

  /** The user a token stands for, or undefined when it is not (or no longer) good for any of the audiences. */
  check(token: string, store: ObjectReader, audiences: string[] = [this.audience]): CheckedToken | undefined {
    const claims = this.#verified(token);
    if (claims === undefined) return undefined;
    const nowSeconds = Date.now() / 1000;
    if (typeof claims.exp === "number" && claims.exp < nowSeconds) return undefined;
    if (typeof claims.nbf === "number" && claims.nbf > nowSeconds + 60) return undefined;
    if (claims.iss === LEGACY_ISSUER) return this.#checkLegacy(token, claims, store, audiences);
    if (claims.iss !== this.issuer) return undefined;
    const offered: string[] = Array.isArray(claims.aud) ? claims.aud : [claims.aud];
    const matching = audiences.filter((audience) => offered.includes(audience));
    if (matching.length === 0) return undefined;
    const about = claims["kubernetes.io"] ?? {};
    const account = store.get("", "serviceaccounts", about.namespace, about.serviceaccount?.name);
    if (account === undefined || account.metadata.uid !== about.serviceaccount.uid) return undefined;
    for (const kind of ["pod", "secret"]) {
      if (about[kind] === undefined) continue;
      const bound = store.get("", `${kind}s`, about.namespace, about[kind].name);
      if (bound === undefined || bound.metadata.uid !== about[kind].uid) return undefined;
    }
    return { user: userOf(account, about), audiences: matching };
  }

  #checkLegacy(
    token: string,
    claims: any,
    store: ObjectReader,
    audiences: string[],
  ): CheckedToken | undefined {
    if (!audiences.includes(this.audience)) return undefined;
    const namespace = claims[`${LEGACY}/namespace`];
    const account = store.get("", "serviceaccounts", namespace, claims[`${LEGACY}/service-account.name`]);
    if (account === undefined || account.metadata.uid !== claims[`${LEGACY}/service-account.uid`])
      return undefined;
    const secret = store.get("", "secrets", namespace, claims[`${LEGACY}/secret.name`]);
    if (secret === undefined || secret.metadata.deletionTimestamp !== undefined) return undefined;
    if (Buffer.from(secret.data?.token ?? "", "base64").toString() !== token) return undefined;
    return { user: userOf(account, {}), audiences: [this.audience] };
  }

  #verified(token: string): any {
    const [header, payload, signature, ...rest] = token.split(".");
    if (signature === undefined || rest.length > 0 || token.length > 16_384) return undefined;
    try {
      const { alg, kid } = JSON.parse(Buffer.from(header!, "base64url").toString());
      if (alg !== "RS256") return undefined;
      const keys = this.#publicKeys.filter(({ id }) => kid === undefined || id === kid);
      const candidates = keys.length > 0 ? keys : this.#publicKeys;
      const bytes = Buffer.from(`${header}.${payload}`);
      const good = candidates.some(({ key }) =>
        verify("sha256", bytes, key, Buffer.from(signature, "base64url")),
      );
      return good ? JSON.parse(Buffer.from(payload!, "base64url").toString()) : undefined;
    } catch {
      return undefined;
    }
  }

  /** The public keys as a JSON Web Key Set. */
  keySet(): KubeObject {
    const unique = new Map(this.#publicKeys.map(({ id, key }) => [id, key]));
    const keys = [...unique].map(([kid, key]) => ({
      use: "sig",
      kid,
      alg: "RS256",
      ...key.export({ format: "jwk" }),
    }));
    return { keys };
  }
}

/** A good token. */
export interface CheckedToken {
  user: UserInfo;
  audiences: string[];
}

function userOf(account: KubeObject, about: any): UserInfo {
  const { namespace, name, uid } = account.metadata;
  const extra: Record<string, string[]> = {};
  if (about.pod !== undefined) {
    extra["authentication.kubernetes.io/pod-name"] = [about.pod.name];
    extra["authentication.kubernetes.io/pod-uid"] = [about.pod.uid];
  }
  if (about.node !== undefined) extra["authentication.kubernetes.io/node-name"] = [about.node.name];
  return {
    username: `system:serviceaccount:${namespace}:${name}`,
    uid,
    groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`, "system:authenticated"],
    ...(Object.keys(extra).length === 0 ? {} : { extra }),
  };
}

function keyId(key: KeyObject): string {
  return createHash("sha256")
    .update(key.export({ format: "der", type: "spki" }))
    .digest("base64url");
}
