// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, test } from "node:test";
import { createLogger } from "../lib/log.ts";
import { ensureSysctls, restoreSysctls, type SysctlPlace } from "./sysctl.ts";

const four = "net/ipv4/ip_forward";
const six = "net/ipv6/conf/all/forwarding";
const filter = "net/ipv4/conf/shunt_vxlan/rp_filter";
const log = createLogger(() => undefined);

describe("kernel settings", () => {
  let folder: string;
  let place: SysctlPlace;
  const set = (path: string, value: string) => {
    mkdirSync(dirname(join(place.sysFolder, path)), { recursive: true });
    writeFileSync(join(place.sysFolder, path), value);
  };
  const values = () =>
    [four, six, filter].map((path) => readFileSync(join(place.sysFolder, path), "utf8").trim());
  const ensure = (options = { six: true, overlay: true }) => ensureSysctls({ ...options, log, place });

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "shunt-sysctl-"));
    place = { sysFolder: join(folder, "sys"), recordFile: join(folder, "run", "sysctls.json") };
    set(four, "0\n");
    set(six, "0\n");
    set(filter, "2\n");
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  test("are put back to what they were before the first agent", () => {
    assert.deepEqual(ensure(), []);
    assert.deepEqual(values(), ["1", "1", "0"]);
    set(four, "0\n");
    ensure(); // a second agent finds the first one's record
    set(four, "1\n");
    assert.deepEqual(restoreSysctls(place), ["net.ipv4.ip_forward = 0", "net.ipv6.conf.all.forwarding = 0"]);
    assert.deepEqual(values(), ["0", "0", "0"]);
    assert.equal(existsSync(place.recordFile), false);
    assert.deepEqual(restoreSysctls(place), []);
  });

  test("that were right already, or that someone changed since, stay", () => {
    set(four, "1\n");
    ensure();
    set(six, "2\n");
    assert.deepEqual(restoreSysctls(place), []);
    assert.deepEqual(values().slice(0, 2), ["1", "2"]);
  });

  test("of a family that is not used are left alone", () => {
    ensure({ six: false, overlay: false });
    assert.deepEqual(values(), ["1", "0", "2"]);
  });

  test("that cannot be written are named", () => {
    rmSync(join(place.sysFolder, six));
    assert.match(ensure().join(), /net\.ipv6\.conf\.all\.forwarding cannot be set to 1/);
  });

  test("are not forgotten when putting them back fails", () => {
    ensure();
    writeFileSync(place.recordFile, "{");
    assert.throws(() => restoreSysctls(place), /sysctls\.json cannot be read/);
    assert.ok(existsSync(place.recordFile));
  });
});
