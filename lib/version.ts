// SPDX-License-Identifier: Apache-2.0

/** Version of the program, the agent and their manifests; equal to package.json's (a test holds it). */
export const VERSION = "0.1.0";
