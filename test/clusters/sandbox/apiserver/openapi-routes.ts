// SPDX-License-Identifier: Apache-2.0
import type { Api } from "./api.ts";
import { answer, answerText } from "./http-answer.ts";
import type { RequestInfo } from "./request-info.ts";
import type { Exchange } from "./resource-handler.ts";
import { SWAGGER_PROTOBUF } from "./resources/index.ts";

/** `/openapi/v2` (JSON or protobuf) and `/openapi/v3` (index and one document a group version). */
export function serveOpenApi(api: Api, info: RequestInfo, { request, response }: Exchange): void {
  const path = info.path.replace(/\/+$/, "").slice("/openapi/".length);
  if (path === "v2") {
    if ((request.headers.accept ?? "").includes("proto-openapi.spec.v2")) {
      const body = api.openApi.v2Protobuf();
      response.writeHead(200, { "content-type": SWAGGER_PROTOBUF, "content-length": body.length });
      response.end(body);
    } else answer(response, 200, api.openApi.v2());
    return;
  }
  const document = path === "v3" ? api.openApi.v3Index() : api.openApi.v3(path.slice("v3/".length));
  if (document === undefined) answerText(response, 404, "404 page not found\n");
  else answer(response, 200, document);
}
