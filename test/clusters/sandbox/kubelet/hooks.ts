// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../../../lib/errors.ts";
import { sleep } from "../../../../lib/wait.ts";
import { httpCheck, tcpCheck } from "./checks.ts";
import type { KubeletNode } from "./kubelet-node.ts";
import { type ContainerSpec, isHostNetwork, type Pod, podUid } from "./pod.ts";

/** Runs a lifecycle hook (exec, httpGet, tcpSocket or sleep) to its end. Throws when it fails. */
export async function runHook(
  kubelet: KubeletNode,
  pod: Pod,
  container: ContainerSpec,
  containerId: string,
  hook: any,
): Promise<void> {
  if (hook.exec !== undefined) {
    const result = await kubelet.cri.execSync(containerId, hook.exec.command, 0);
    if (result.exit_code !== 0)
      throw new ShuntError(
        `command '${hook.exec.command.join(" ")}' exited with ${result.exit_code}: ${result.stderr.toString("utf8").slice(0, 1000)}`,
      );
  } else if (hook.sleep !== undefined) await sleep(hook.sleep.seconds * 1000);
  else {
    const runtime = await kubelet.reader.read(podUid(pod));
    const address = isHostNetwork(pod) ? kubelet.options.nodeIps[0] : runtime.sandboxes[0]?.ips[0];
    const check = hook.httpGet === undefined ? tcpCheck : httpCheck;
    const outcome = await check(hook.httpGet ?? hook.tcpSocket, container, address ?? "", 30_000);
    if (!outcome.ok) throw new ShuntError(outcome.message);
  }
}
