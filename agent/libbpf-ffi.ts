// SPDX-License-Identifier: Apache-2.0
// The C functions behind agent/libbpf.ts: nothing outside agent/libbpf*.ts may use this file.
import os from "node:os";
import koffi from "koffi";
import { errorMessage, ShuntError } from "../lib/errors.ts";

const declarations = {
  bpf: [
    "void *bpf_object__open_file(const char *path, void *opts)",
    "int bpf_object__load(void *object)",
    "void bpf_object__close(void *object)",
    "void *bpf_object__next_map(void *object, void *map)",
    "void *bpf_object__next_program(void *object, void *program)",
    "const char *bpf_map__name(void *map)",
    "int bpf_map__fd(void *map)",
    "int bpf_map__set_pin_path(void *map, const char *path)",
    "int bpf_map__set_initial_value(void *map, void *data, size_t size)",
    "int bpf_map__set_max_entries(void *map, uint32_t entries)",
    "const char *bpf_program__name(void *program)",
    "int bpf_program__fd(void *program)",
    "int bpf_program__set_autoload(void *program, bool autoload)",
    "int bpf_map_create(int type, const char *name, uint32_t key_size, uint32_t value_size, uint32_t max_entries, void *opts)",
    "int bpf_map_lookup_elem(int fd, void *key, void *value)",
    "int bpf_map_update_elem(int fd, void *key, void *value, uint64_t flags)",
    "int bpf_map_delete_elem(int fd, void *key)",
    "int bpf_map_get_next_key(int fd, void *key, void *next)",
    "int bpf_map_lookup_batch(int fd, void *in, void *out, void *keys, void *values, void *count, void *opts)",
    "int bpf_map_update_batch(int fd, void *keys, void *values, void *count, void *opts)",
    "int bpf_map_delete_batch(int fd, void *keys, void *count, void *opts)",
    "int bpf_obj_get(const char *path)",
    "int bpf_obj_pin(int fd, const char *path)",
    "int bpf_obj_get_info_by_fd(int fd, void *info, void *length)",
    "int bpf_link_create(int program, int target, int type, void *opts)",
    "int bpf_link_update(int link, int program, void *opts)",
    "int bpf_link_detach(int link)",
    "int bpf_prog_load(int type, const char *name, const char *license, void *instructions, size_t count, void *opts)",
    "int bpf_prog_test_run_opts(int program, void *opts)",
    "int bpf_tc_hook_create(void *hook)",
    "int bpf_tc_hook_destroy(void *hook)",
    "int bpf_tc_attach(void *hook, void *opts)",
    "int bpf_tc_detach(void *hook, void *opts)",
    "int bpf_tc_query(void *hook, void *opts)",
    "int libbpf_num_possible_cpus()",
    "uint32_t libbpf_major_version()",
    "uint32_t libbpf_minor_version()",
  ],
  libc: [
    "int open(const char *path, int flags)",
    "int close(int fd)",
    "int setns(int fd, int type)",
    "int unshare(int flags)",
    "uint32_t if_nametoindex(const char *name)",
    "int socket(int domain, int type, int protocol)",
    "int getsockopt(int fd, int level, int name, void *value, void *length)",
    "int setsockopt(int fd, int level, int name, const void *value, uint32_t length)",
    "int send(int fd, const void *buffer, size_t length, int flags)",
    "int recv(int fd, void *buffer, size_t length, int flags)",
    "int vsnprintf(void *buffer, size_t size, const char *format, void *arguments)",
    "void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)",
    "int munmap(void *address, size_t length)",
  ],
} as const;

type NameOf<D extends string> = D extends `${string}*${infer Name}(${string}`
  ? Name extends `${string} ${string}`
    ? NameAfterType<D>
    : Name
  : NameAfterType<D>;
type NameAfterType<D extends string> = D extends `${string} ${infer Name}(${string}` ? Name : never;
type Functions = Record<
  NameOf<(typeof declarations.bpf)[number]> | NameOf<(typeof declarations.libc)[number]>,
  (...args: any[]) => any
>;

let loaded: Functions | undefined;

/** The functions, loading libbpf at first use. Throws when libbpf.so.1 is not installed. */
export function ffi(): Functions {
  loaded ??= load();
  return loaded;
}

function load(): Functions {
  let bpf: ReturnType<typeof koffi.load>;
  try {
    bpf = koffi.load("libbpf.so.1");
  } catch (cause) {
    throw new ShuntError(`Cannot load libbpf.so.1: ${errorMessage(cause)}`, {
      code: "NoLibbpf",
      remedy: "Install libbpf 1.x (Debian and Ubuntu: apt-get install libbpf1)",
      cause,
    });
  }
  const libc = koffi.load("libc.so.6");
  const all: Record<string, unknown> = {};
  const add = (library: typeof bpf, list: readonly string[]) => {
    for (const declaration of list) {
      const name = /(\w+)\(/.exec(declaration)![1]!;
      all[name] = library.func(declaration);
    }
  };
  add(bpf, declarations.bpf);
  add(libc, declarations.libc);
  captureLog(bpf, all as Functions);
  return all as Functions;
}

const logLines: string[] = [];

/** Sends libbpf's own messages (verifier logs among them) to `logLines` instead of standard error. */
function captureLog(bpf: ReturnType<typeof koffi.load>, functions: Functions): void {
  const prototype = koffi.proto("int shunt_libbpf_print(int level, const char *format, void *arguments)");
  const buffer = Buffer.alloc(1 << 20);
  const print = koffi.register((level: number, format: string, args: unknown) => {
    if (level > 1) return 0;
    const length = functions.vsnprintf(buffer, buffer.length, format, args);
    const text = buffer.toString("utf8", 0, Math.min(length, buffer.length - 1)).trimEnd();
    logLines.push(...text.split("\n"));
    if (logLines.length > 4000) logLines.splice(0, logLines.length - 4000);
    return 0;
  }, koffi.pointer(prototype));
  bpf.func("libbpf_set_print", "void *", [koffi.pointer(prototype)])(print);
}

/** What libbpf said since the last call; clears it. */
export function takeLog(): string[] {
  return logLines.splice(0);
}

/** errno of the last failed libc call. */
export function lastErrno(): number {
  return koffi.errno();
}

/** `EINVAL (invalid argument)` for 22 or -22. */
export function errnoText(value: number): string {
  const code = Math.abs(value);
  const name = Object.entries(os.constants.errno).find(([, number]) => number === code)?.[0];
  return name ?? `errno ${code}`;
}

/** Throws a ShuntError unless `result` is a success (0 or more); returns it. */
export function check(result: number, what: string, remedy?: string): number {
  if (result >= 0) return result;
  const errno = result === -1 ? lastErrno() : -result;
  throw new BpfError(what, errno, remedy);
}

/** A refused BPF or namespace call, with its errno. */
export class BpfError extends ShuntError {
  readonly errno: number;
  constructor(what: string, errno: number, remedy?: string) {
    super(`${what}: ${errnoText(errno)}`, {
      code: "BpfFailed",
      ...(remedy === undefined ? {} : { remedy }),
    });
    this.name = "BpfError";
    this.errno = errno;
  }
}

/** The memory behind a C pointer as an ArrayBuffer, not copied. */
export function memoryView(pointer: unknown, length: number): ArrayBuffer {
  return koffi.view(pointer, length);
}

/** The address of a Buffer's memory, for C structs that hold pointers. The caller keeps the buffer alive. */
export function bufferAddress(buffer: Uint8Array): bigint {
  return BigInt(koffi.address(buffer));
}
