// SPDX-License-Identifier: Apache-2.0

/** Writes protobuf fields; messages are written by a function into a nested writer. */
export class ProtobufWriter {
  readonly #chunks: Buffer[] = [];

  /** A string field; absent when undefined. */
  string(field: number, value: string | undefined): this {
    if (value !== undefined) this.#bytes(field, Buffer.from(value));
    return this;
  }

  /** Repeated strings. */
  strings(field: number, values: readonly string[] | undefined): this {
    for (const value of values ?? []) this.string(field, value);
    return this;
  }

  /** A bool field; absent when false. */
  bool(field: number, value: boolean | undefined): this {
    if (value) this.#chunks.push(varint(field << 3), varint(1));
    return this;
  }

  /** An int64 field of a non-negative number; absent when undefined. */
  int(field: number, value: number | undefined): this {
    if (value !== undefined) this.#chunks.push(varint(field << 3), varint(value));
    return this;
  }

  /** A double field; absent when undefined. */
  double(field: number, value: number | undefined): this {
    if (value === undefined) return this;
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleLE(value);
    this.#chunks.push(varint((field << 3) | 1), bytes);
    return this;
  }

  /** A nested message. */
  message(field: number, write: (writer: ProtobufWriter) => void): this {
    const nested = new ProtobufWriter();
    write(nested);
    this.#bytes(field, nested.finish());
    return this;
  }

  /** Everything written. */
  finish(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  #bytes(field: number, value: Buffer): void {
    this.#chunks.push(varint((field << 3) | 2), varint(value.length), value);
  }
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 0x80) {
    bytes.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}
