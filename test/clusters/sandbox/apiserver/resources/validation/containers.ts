// SPDX-License-Identifier: Apache-2.0
import { duplicate, forbidden, invalidValue, notFound, notSupported, required } from "../field-errors.ts";
import type { FieldError, KubeObject } from "../resource.ts";
import { quantityNanos } from "../schema/quantity.ts";
import { labelErrors } from "./names.ts";

const MAX_PORT = 65535;
const PROTOCOLS = ["SCTP", "TCP", "UDP"];
const PULL_POLICIES = ["Always", "IfNotPresent", "Never"];
const ENV_NAME = /^[-._a-zA-Z][-._a-zA-Z0-9]*$/;
const PORT_NAME = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/;

/** What is wrong with a port number. */
export function portErrors(port: unknown, field: string): FieldError[] {
  if (Number.isInteger(port) && (port as number) >= 1 && (port as number) <= MAX_PORT) return [];
  return [invalidValue(field, port ?? 0, `must be between 1 and ${MAX_PORT}, inclusive`)];
}

/** What is wrong with a port's name. */
export function portNameErrors(name: string): string[] {
  const errors: string[] = [];
  if (name.length > 15) errors.push("must be no more than 15 characters");
  if (!PORT_NAME.test(name) || name.includes("--")) {
    errors.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
  }
  if (!/[a-z]/.test(name)) errors.push("must contain at least one letter (a-z)");
  return errors;
}

/** Everything wrong with the containers of a pod. */
export function containerErrors(spec: KubeObject, field: string): FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  const volumes = new Set<string>((spec.volumes ?? []).map((volume: KubeObject) => volume.name));
  if (!spec.containers?.length) errors.push(required(`${field}.containers`));
  for (const list of ["initContainers", "containers", "ephemeralContainers"]) {
    for (const [index, container] of (spec[list] ?? []).entries()) {
      const at = `${field}.${list}[${index}]`;
      if (names.has(container.name)) errors.push(duplicate(`${at}.name`, container.name));
      names.add(container.name);
      errors.push(...oneContainer(container, at, volumes));
    }
  }
  errors.push(...hostPortErrors(spec, field));
  return errors;
}

function oneContainer(container: KubeObject, field: string, volumes: Set<string>): FieldError[] {
  const errors: FieldError[] = [];
  if (!container.name) errors.push(required(`${field}.name`));
  else
    for (const error of labelErrors(container.name))
      errors.push(invalidValue(`${field}.name`, container.name, error));
  if (!container.image) errors.push(required(`${field}.image`));
  else if (container.image !== container.image.trim()) {
    errors.push(
      invalidValue(`${field}.image`, container.image, "must not have leading or trailing whitespace"),
    );
  }
  if (!PULL_POLICIES.includes(container.imagePullPolicy)) {
    errors.push(notSupported(`${field}.imagePullPolicy`, container.imagePullPolicy ?? "", PULL_POLICIES));
  }
  errors.push(...portListErrors(container.ports ?? [], `${field}.ports`));
  errors.push(...environmentErrors(container.env ?? [], `${field}.env`));
  errors.push(...mountErrors(container.volumeMounts ?? [], `${field}.volumeMounts`, volumes));
  errors.push(...resourceErrors(container.resources ?? {}, `${field}.resources`));
  for (const probe of ["livenessProbe", "readinessProbe", "startupProbe"]) {
    errors.push(...probeErrors(container[probe], `${field}.${probe}`, probe));
  }
  const security = container.securityContext ?? {};
  if (security.allowPrivilegeEscalation === false && security.privileged) {
    errors.push(
      invalidValue(
        `${field}.securityContext`,
        security,
        "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
      ),
    );
  }
  return errors;
}

function portListErrors(ports: KubeObject[], field: string): FieldError[] {
  const errors: FieldError[] = [];
  const names = new Set<string>();
  for (const [index, port] of ports.entries()) {
    const at = `${field}[${index}]`;
    if (port.name) {
      for (const error of portNameErrors(port.name))
        errors.push(invalidValue(`${at}.name`, port.name, error));
      if (names.has(port.name)) errors.push(duplicate(`${at}.name`, port.name));
      names.add(port.name);
    }
    if (port.containerPort === undefined || port.containerPort === 0)
      errors.push(required(`${at}.containerPort`));
    else errors.push(...portErrors(port.containerPort, `${at}.containerPort`));
    if (port.hostPort) errors.push(...portErrors(port.hostPort, `${at}.hostPort`));
    if (!PROTOCOLS.includes(port.protocol))
      errors.push(notSupported(`${at}.protocol`, port.protocol ?? "", PROTOCOLS));
  }
  return errors;
}

function hostPortErrors(spec: KubeObject, field: string): FieldError[] {
  const errors: FieldError[] = [];
  const used = new Set<string>();
  for (const [index, container] of (spec.containers ?? []).entries()) {
    for (const [at, port] of (container.ports ?? []).entries()) {
      if (!port.hostPort) continue;
      const key = `${port.protocol}/${port.hostIP ?? ""}/${port.hostPort}`;
      const place = `${field}.containers[${index}].ports[${at}]`;
      if (used.has(key)) errors.push(duplicate(`${place}.hostPort`, key));
      used.add(key);
      if (spec.hostNetwork && port.hostPort !== port.containerPort) {
        errors.push(
          invalidValue(
            `${place}.hostPort`,
            port.hostPort,
            "must match `containerPort` when `hostNetwork` is true",
          ),
        );
      }
    }
  }
  return errors;
}

function environmentErrors(env: KubeObject[], field: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, variable] of env.entries()) {
    const at = `${field}[${index}]`;
    if (!variable.name) errors.push(required(`${at}.name`));
    else if (!ENV_NAME.test(variable.name)) {
      errors.push(
        invalidValue(
          `${at}.name`,
          variable.name,
          "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit (e.g. 'my.env-name',  or 'MY_ENV.NAME',  or 'MyEnvName1', regex used for validation is '[-._a-zA-Z][-._a-zA-Z0-9]*')",
        ),
      );
    }
    const sources = Object.keys(variable.valueFrom ?? {});
    if (variable.valueFrom && sources.length !== 1) {
      const why = sources.length
        ? "may not have more than one field specified at a time"
        : "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
      errors.push(invalidValue(`${at}.valueFrom`, "", why));
    }
    if (variable.value && sources.length) {
      errors.push(invalidValue(`${at}.valueFrom`, "", "may not be specified when `value` is not empty"));
    }
  }
  return errors;
}

function mountErrors(mounts: KubeObject[], field: string, volumes: Set<string>): FieldError[] {
  const errors: FieldError[] = [];
  const paths = new Set<string>();
  for (const [index, mount] of mounts.entries()) {
    const at = `${field}[${index}]`;
    if (!mount.name) errors.push(required(`${at}.name`));
    else if (!volumes.has(mount.name)) errors.push(notFound(`${at}.name`, mount.name));
    if (!mount.mountPath) errors.push(required(`${at}.mountPath`));
    else if (paths.has(mount.mountPath))
      errors.push(invalidValue(`${at}.mountPath`, mount.mountPath, "must be unique"));
    paths.add(mount.mountPath);
    if (mount.subPath && mount.subPathExpr) {
      errors.push(
        invalidValue(
          `${at}.subPathExpr`,
          mount.subPathExpr,
          "subPathExpr and subPath are mutually exclusive",
        ),
      );
    }
    if (
      typeof mount.subPath === "string" &&
      (mount.subPath.startsWith("/") || mount.subPath.split("/").includes(".."))
    ) {
      const why = mount.subPath.startsWith("/") ? "must be a relative path" : "must not contain '..'";
      errors.push(invalidValue(`${at}.subPath`, mount.subPath, why));
    }
  }
  return errors;
}

function resourceErrors(resources: KubeObject, field: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [name, request] of Object.entries<string>(resources.requests ?? {})) {
    const wanted = quantityNanos(request) ?? 0n;
    if (wanted < 0n)
      errors.push(invalidValue(`${field}.requests[${name}]`, request, "must be greater than or equal to 0"));
    const limit = resources.limits?.[name];
    if (limit !== undefined && wanted > (quantityNanos(limit) ?? 0n)) {
      errors.push(
        invalidValue(`${field}.requests`, request, `must be less than or equal to ${name} limit of ${limit}`),
      );
    }
  }
  for (const [name, limit] of Object.entries<string>(resources.limits ?? {})) {
    if ((quantityNanos(limit) ?? 0n) < 0n) {
      errors.push(invalidValue(`${field}.limits[${name}]`, limit, "must be greater than or equal to 0"));
    }
  }
  return errors;
}

const HANDLERS = ["exec", "httpGet", "tcpSocket", "grpc"];

function probeErrors(probe: KubeObject | undefined, field: string, kind: string): FieldError[] {
  if (!probe) return [];
  const errors: FieldError[] = [];
  const handlers = HANDLERS.filter((name) => probe[name]);
  if (handlers.length === 0) errors.push(required(field, "must specify a handler type"));
  for (const extra of handlers.slice(1)) {
    errors.push(forbidden(`${field}.${extra}`, "may not specify more than 1 handler type"));
  }
  if (probe.exec && !probe.exec.command?.length) errors.push(required(`${field}.exec.command`));
  for (const name of ["httpGet", "tcpSocket", "grpc"]) {
    if (probe[name] && probe[name].port === undefined) errors.push(...portErrors(0, `${field}.${name}.port`));
    else if (typeof probe[name]?.port === "number")
      errors.push(...portErrors(probe[name].port, `${field}.${name}.port`));
  }
  for (const name of ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "failureThreshold"]) {
    if (probe[name] < 0)
      errors.push(invalidValue(`${field}.${name}`, probe[name], "must be greater than or equal to 0"));
  }
  if (kind !== "readinessProbe" && probe.successThreshold !== 1) {
    errors.push(invalidValue(`${field}.successThreshold`, probe.successThreshold, "must be 1"));
  }
  return errors;
}
