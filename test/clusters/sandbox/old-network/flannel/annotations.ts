// SPDX-License-Identifier: Apache-2.0

/** Prefix of the annotations by which flannelds know each other. */
export const annotationPrefix = "flannel.alpha.coreos.com";

/** Annotations that each family has of its own. */
export const familyAnnotations = {
  ipv4: { data: `${annotationPrefix}/backend-data`, publicIp: `${annotationPrefix}/public-ip` },
  ipv6: { data: `${annotationPrefix}/backend-v6-data`, publicIp: `${annotationPrefix}/public-ipv6` },
};
