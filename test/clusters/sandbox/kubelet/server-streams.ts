// SPDX-License-Identifier: Apache-2.0
import type http from "node:http";
import net from "node:net";
import type { Duplex } from "node:stream";
import { allContainers, podUid } from "./pod.ts";
import { latest, type RuntimeContainer } from "./pod-runtime.ts";
import { HttpError, type KubeletRequest } from "./server-request.ts";

/** The newest container of this name of a pod. Throws HttpError 404. */
export async function findContainer(
  call: KubeletRequest,
  namespace: string,
  podName: string,
  name: string,
): Promise<RuntimeContainer> {
  const pod = call.manager.find(namespace, podName);
  if (pod === undefined) throw new HttpError(404, `pod "${podName}" not found`);
  const runtime = await call.kubelet.reader.read(podUid(pod));
  const container = latest(runtime, name);
  if (container !== undefined) return container;
  if (!allContainers(pod).some((entry) => entry.name === name))
    throw new HttpError(404, `container "${name}" of pod "${podName}" not found`);
  const statuses = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
  const reason = statuses.find((entry) => entry.name === name)?.state?.waiting?.reason ?? "ContainerCreating";
  throw new HttpError(400, `container "${name}" in pod "${podName}" is waiting to start: ${reason}`);
}

/** Joins an upgraded connection with the stream that the runtime offers; bytes pass as they are. */
export async function serveUpgrade(
  call: KubeletRequest,
  request: http.IncomingMessage,
  client: Duplex,
  head: Buffer,
): Promise<void> {
  const target = new URL(await streamUrl(call));
  const upstream = net.connect(Number(target.port), target.hostname);
  const lines = [`${request.method} ${target.pathname}${target.search} HTTP/1.1`, `Host: ${target.host}`];
  for (let index = 0; index < request.rawHeaders.length; index += 2) {
    const name = request.rawHeaders[index] ?? "";
    if (!/^(host|content-length|authorization)$/i.test(name))
      lines.push(`${name}: ${request.rawHeaders[index + 1]}`);
  }
  upstream.setNoDelay(true);
  await new Promise<void>((resolve, reject) => {
    upstream.once("connect", resolve);
    upstream.once("error", reject);
  });
  upstream.on("error", () => client.destroy());
  upstream.on("close", () => client.destroy());
  client.on("close", () => upstream.destroy());
  upstream.write(`${lines.join("\r\n")}\r\n\r\n`);
  if (head.length > 0) upstream.write(head);
  client.pipe(upstream);
  upstream.pipe(client);
}

/** Paths: exec|attach/NAMESPACE/POD[/UID]/CONTAINER and portForward/NAMESPACE/POD[/UID]. */
async function streamUrl(call: KubeletRequest): Promise<string> {
  const [kind, namespace = "", podName = "", ...rest] = call.parts;
  const { query, kubelet } = call;
  if (kind === "portForward") {
    const pod = call.manager.find(namespace, podName);
    if (pod === undefined) throw new HttpError(404, `pod "${podName}" not found`);
    const sandbox = (await kubelet.reader.read(podUid(pod))).sandboxes[0];
    if (sandbox?.ready !== true) throw new HttpError(500, `pod "${podName}" is not running`);
    const port = query.getAll("port").map(Number);
    return await kubelet.cri.streamUrl("PortForward", { pod_sandbox_id: sandbox.id, port });
  }
  const container = await findContainer(call, namespace, podName, rest.at(-1) ?? "");
  if (container.state !== "running") throw new HttpError(500, `container "${container.name}" is not running`);
  const flag = (name: string) => ["1", "true"].includes(query.get(name) ?? "");
  const tty = flag("tty");
  const streams = {
    container_id: container.id,
    tty,
    stdin: flag("input") || flag("stdin"),
    stdout: flag("output") || flag("stdout"),
    stderr: !tty && (flag("error") || flag("stderr")),
  };
  if (kind === "exec")
    return await kubelet.cri.streamUrl("Exec", { ...streams, cmd: query.getAll("command") });
  if (kind === "attach") return await kubelet.cri.streamUrl("Attach", streams);
  throw new HttpError(404, "404 page not found");
}
