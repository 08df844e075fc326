// SPDX-License-Identifier: Apache-2.0
// The agent's face to the kernel's BPF side. Everything is synchronous and takes microseconds.
export { BpfError } from "./libbpf-ffi.ts";
export {
  type Attached,
  attachCgroup,
  attachTc,
  detachPinned,
  detachTc,
  type TcDirection,
} from "./libbpf-link.ts";
export { BpfMap, openPinnedMap, possibleCpus } from "./libbpf-map.ts";
export { deviceIndex, inNetns, inNewNetns, netnsCookie } from "./libbpf-netns.ts";
export { BpfObject, type LoadOptions, loadObject } from "./libbpf-object.ts";
export { type FeatureProbe, probeFeatures } from "./libbpf-probe.ts";
export { RingBufferReader } from "./libbpf-ring-buffer.ts";
export { type TestRunResult, testRun } from "./libbpf-test-run.ts";
