// SPDX-License-Identifier: Apache-2.0
import net from "node:net";
import { errorMessage } from "../../lib/errors.ts";
import type { Target } from "./requests.ts";
import type { ProbePath, StreamRecord } from "./results.ts";
import type { Sent, Tally } from "./tally.ts";

const frameMs = 250;
/** A stream on which nothing comes back for so long is broken. */
const silenceMs = 30_000;

/** What a stream needs to know of the world. */
export interface StreamHost {
  tally: Tally;
  now(): number;
  /** True when a pod is known to be on its way out. */
  isLeaving(uid: string): boolean;
  /** A pod said goodbye. */
  onBye(uid: string): void;
}

/** A long TCP connection: numbered lines go out, numbered answers come back, until one end is moved. */
export class ProbeStream {
  readonly record: StreamRecord;
  readonly #host: StreamHost;
  readonly #socket: net.Socket;
  readonly #waiting = new Map<number, Sent>();
  readonly #timer: NodeJS.Timeout;
  readonly #onEnd: () => void;
  /** Node, or `service`: what its lines are counted for, whoever answers. */
  readonly #to: string;
  #uid = "";
  #sequence = 0;
  #count = 0;
  #lastAnswerMs: number;
  #rest = "";

  constructor(id: string, path: ProbePath, to: string, target: Target, host: StreamHost, onEnd: () => void) {
    this.#host = host;
    this.#onEnd = onEnd;
    this.#to = to;
    const now = host.now();
    this.#lastAnswerMs = now;
    this.record = { id, to, path, openedAtMs: now, frames: 0, maxGapMs: 0 };
    this.#waiting.set(0, host.tally.sent("stream", path, to));
    this.#socket = net.connect({ host: target.address, port: target.port, noDelay: true });
    this.#socket.setEncoding("utf8");
    this.#socket.on("data", (chunk) => this.#read(String(chunk)));
    this.#socket.on("error", (error) => this.#broken(errorMessage(error)));
    this.#socket.on("close", () => this.#broken("closed by the other side"));
    this.#timer = setInterval(() => this.#tick(), frameMs);
  }

  /** Ends it in good order. */
  end(why: "moved" | "stopped"): void {
    if (this.record.end !== undefined) return;
    this.#finish(why);
    this.#socket.end();
    setTimeout(() => this.#socket.destroy(), 1_000).unref();
  }

  #tick(): void {
    const silent = this.#host.now() - this.#lastAnswerMs;
    if (this.#uid === "") {
      if (silent > silenceMs) this.#broken("no connection");
      return;
    }
    if (silent > silenceMs) {
      this.#broken(`nothing came for ${silenceMs / 1_000} s`);
      return;
    }
    const sequence = ++this.#sequence;
    this.#waiting.set(sequence, this.#host.tally.sent("stream", this.record.path, this.#to));
    this.#socket.write(`${sequence}\n`);
  }

  #read(chunk: string): void {
    const lines = (this.#rest + chunk).split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) {
      if (this.record.end !== undefined) return;
      try {
        this.#take(JSON.parse(line));
      } catch (error) {
        this.#broken(`not an answer: ${errorMessage(error)}`);
      }
    }
  }

  #take(line: { uid?: string; node?: string; bye?: boolean; seq?: number; count?: number }): void {
    if (line.uid !== undefined) this.#greeted(line.uid, line.node);
    if (line.bye === true) {
      this.#host.onBye(this.#uid);
      this.end("moved");
      return;
    }
    if (line.uid !== undefined) this.#host.tally.streamOpened(this.record);
    if (line.seq === undefined) return;
    const sent = this.#waiting.get(line.seq);
    this.#waiting.delete(line.seq);
    if (sent === undefined || line.count !== ++this.#count) {
      this.#broken(`line ${line.seq} came as number ${line.count}, expected ${this.#count}`);
      return;
    }
    const now = this.#host.now();
    this.record.frames++;
    this.record.maxGapMs = Math.max(this.record.maxGapMs, Math.round(now - this.#lastAnswerMs));
    this.#lastAnswerMs = now;
    this.#host.tally.answered(sent);
  }

  /** The other side said who it is: the opening itself was one request. */
  #greeted(uid: string, node: string | undefined): void {
    this.#uid = uid;
    const opening = this.#waiting.get(0);
    this.#waiting.delete(0);
    if (opening !== undefined) this.#host.tally.answered(opening);
    this.record.to = node ?? this.record.to;
  }

  #broken(error: string): void {
    if (this.record.end !== undefined) return;
    this.record.error = error;
    this.#finish(this.#host.isLeaving(this.#uid) ? "moved" : "broken");
    this.#socket.destroy();
  }

  /** Lines under way when an end is moved in good order are no losses; when it broke they are. */
  #finish(end: "moved" | "stopped" | "broken"): void {
    clearInterval(this.#timer);
    this.record.end = end;
    this.record.endedAtMs = this.#host.now();
    for (const sent of this.#waiting.values())
      if (end === "broken") this.#host.tally.lost(sent, this.record.error ?? "the stream broke");
      else this.#host.tally.leaving(sent);
    this.#waiting.clear();
    if (end !== "broken") this.#host.tally.pause(this.#to, { kind: "stream", path: this.record.path });
    this.#onEnd();
  }
}
