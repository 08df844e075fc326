// SPDX-License-Identifier: Apache-2.0
import { generateKeyPairSync, randomBytes, webcrypto } from "node:crypto";
import "reflect-metadata";
import * as x509 from "@peculiar/x509";

/** A certificate with its key, both PEM. */
export interface Credential {
  cert: string;
  key: string;
}

/** What a certificate says of its holder. */
export interface Subject {
  /** User name. */
  commonName: string;
  /** Groups. */
  organizations?: string[];
  /** DNS names and addresses, for servers. */
  names?: string[];
}

/** A certificate authority for one cluster. */
export interface Authority extends Credential {
  issue(subject: Subject): Promise<Credential>;
}

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const validDays = 365;

function pem(label: string, der: ArrayBuffer): string {
  const lines = Buffer.from(der)
    .toString("base64")
    .match(/.{1,64}/g)!;
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

async function newKeys(): Promise<{ keys: webcrypto.CryptoKeyPair; pem: string }> {
  const keys = (await webcrypto.subtle.generateKey(algorithm, true, [
    "sign",
    "verify",
  ])) as webcrypto.CryptoKeyPair;
  return { keys, pem: pem("PRIVATE KEY", await webcrypto.subtle.exportKey("pkcs8", keys.privateKey)) };
}

function distinguishedName(subject: Subject): x509.JsonName {
  const organizations = subject.organizations ?? [];
  return [...(organizations.length === 0 ? [] : [{ O: organizations }]), { CN: [subject.commonName] }];
}

function validity(): { notBefore: Date; notAfter: Date; serialNumber: string } {
  const now = Date.now();
  return {
    notBefore: new Date(now - 3_600_000),
    notAfter: new Date(now + validDays * 86_400_000),
    serialNumber: `00${randomBytes(12).toString("hex")}`,
  };
}

/** Makes a new certificate authority. */
export async function createAuthority(commonName: string): Promise<Authority> {
  const { keys, pem: key } = await newKeys();
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    name: distinguishedName({ commonName }),
    keys,
    signingAlgorithm: algorithm,
    ...validity(),
    extensions: [
      new x509.BasicConstraintsExtension(true, undefined, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign | x509.KeyUsageFlags.digitalSignature,
        true,
      ),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return {
    cert: `${root.toString("pem")}\n`,
    key,
    issue: (subject) => issue(root, keys.privateKey, subject),
  };
}

/** The authority whose certificate and key were kept. */
export async function openAuthority({ cert, key }: Credential): Promise<Authority> {
  const der = Buffer.from(key.replaceAll(/-----[^-]+-----|\s/g, ""), "base64");
  const signingKey = await webcrypto.subtle.importKey("pkcs8", der, algorithm, false, ["sign"]);
  const root = new x509.X509Certificate(cert);
  return { cert, key, issue: (subject) => issue(root, signingKey, subject) };
}

async function issue(
  root: x509.X509Certificate,
  signingKey: CryptoKey,
  subject: Subject,
): Promise<Credential> {
  const { keys, pem: key } = await newKeys();
  const isAddress = (name: string) => name.includes(":") || /^[\d.]+$/.test(name);
  const names = (subject.names ?? []).map(
    (value): x509.JsonGeneralName => ({ type: isAddress(value) ? "ip" : "dns", value }),
  );
  const cert = await x509.X509CertificateGenerator.create({
    subject: distinguishedName(subject),
    issuer: root.subjectName,
    publicKey: keys.publicKey,
    signingKey,
    signingAlgorithm: algorithm,
    ...validity(),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.clientAuth,
        x509.ExtendedKeyUsage.serverAuth,
      ]),
      await x509.AuthorityKeyIdentifierExtension.create(root.publicKey),
      ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
    ],
  });
  return { cert: `${cert.toString("pem")}\n`, key };
}

/** The pair that signs service account tokens. */
export function createTokenKeys(): { privateKey: string; publicKey: string } {
  return generateKeyPairSync("rsa", {
    modulusLength: 2048,
    privateKeyEncoding: { type: "pkcs8", format: "pem" },
    publicKeyEncoding: { type: "spki", format: "pem" },
  });
}
