// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { errorMessage, UsageError } from "../../../../lib/errors.ts";

/** What the API server is started with; PEM texts, not paths. */
export interface ApiServerOptions {
  bindAddress: string;
  /** 0 takes a free port. */
  securePort: number;
  /** Where the `kubernetes` Service leads; if unset the bind address, or the first one of the machine. */
  advertiseAddress?: string;
  tlsCert: string;
  tlsKey: string;
  clientCa: string;
  serviceAccountPublicKeys: string[];
  serviceAccountSigningKey: string;
  serviceAccountIssuer: string;
  serviceCidrs: string[];
  kubeletCert?: string;
  kubeletKey?: string;
  kubeletCa?: string;
  /** Keeps objects across restarts; none keeps them in memory only. */
  dataDir?: string;
}

const FLAGS = {
  "bind-address": { type: "string", default: "0.0.0.0" },
  "secure-port": { type: "string", default: "6443" },
  "advertise-address": { type: "string" },
  "tls-cert-file": { type: "string" },
  "tls-private-key-file": { type: "string" },
  "client-ca-file": { type: "string" },
  "service-account-key-file": { type: "string", multiple: true },
  "service-account-signing-key-file": { type: "string" },
  "service-account-issuer": { type: "string", default: "https://kubernetes.default.svc.cluster.local" },
  "service-cluster-ip-range": { type: "string", default: "10.96.0.0/16" },
  "kubelet-client-certificate": { type: "string" },
  "kubelet-client-key": { type: "string" },
  "kubelet-certificate-authority": { type: "string" },
  "data-dir": { type: "string" },
} as const;

function readFile(flag: string, path: string | undefined): string {
  if (path === undefined) throw new UsageError(`--${flag} is missing`, `Name the PEM file with --${flag}.`);
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`--${flag} ${path} cannot be read: ${errorMessage(error)}`);
  }
}

/** Reads the flags, which are named as the real server's. Throws UsageError. */
export function parseOptions(argv: string[]): ApiServerOptions {
  let values: ReturnType<typeof parse>;
  try {
    values = parse(argv);
  } catch (error) {
    throw new UsageError(errorMessage(error));
  }
  const file = (flag: keyof typeof FLAGS): string => readFile(flag, values[flag] as string | undefined);
  const maybe = (flag: keyof typeof FLAGS): string | undefined =>
    values[flag] === undefined ? undefined : file(flag);
  const port = Number(values["secure-port"]);
  if (!Number.isInteger(port) || port < 0 || port > 65535)
    throw new UsageError(`--secure-port ${values["secure-port"]} is not a port`);
  return {
    bindAddress: values["bind-address"],
    securePort: port,
    advertiseAddress: values["advertise-address"],
    tlsCert: file("tls-cert-file"),
    tlsKey: file("tls-private-key-file"),
    clientCa: file("client-ca-file"),
    serviceAccountPublicKeys: (values["service-account-key-file"] ?? []).map((path) =>
      readFile("service-account-key-file", path),
    ),
    serviceAccountSigningKey: file("service-account-signing-key-file"),
    serviceAccountIssuer: values["service-account-issuer"],
    serviceCidrs: values["service-cluster-ip-range"].split(","),
    kubeletCert: maybe("kubelet-client-certificate"),
    kubeletKey: maybe("kubelet-client-key"),
    kubeletCa: maybe("kubelet-certificate-authority"),
    dataDir: values["data-dir"],
  };
}

function parse(argv: string[]) {
  return parseArgs({ args: argv, options: FLAGS, strict: true, allowPositionals: false }).values;
}
