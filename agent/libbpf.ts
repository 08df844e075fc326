// SPDX-License-Identifier: Apache-2.0
// The agent's face to the kernel's BPF side. Everything is synchronous and takes microseconds.
export {
  attachCgroup,
  attachTc,
  attachXdp,
  detachPinned,
  detachTc,
} from "./libbpf-link.ts";
export { BpfMap, openPinnedMap } from "./libbpf-map.ts";
export { deviceIndex, inNetns, netnsCookie } from "./libbpf-netns.ts";
export { BpfObject, loadObject } from "./libbpf-object.ts";
export { probeFeatures } from "./libbpf-probe.ts";
export { RingBufferReader } from "./libbpf-ring-buffer.ts";
export { type TestRunResult, testRun } from "./libbpf-test-run.ts";
