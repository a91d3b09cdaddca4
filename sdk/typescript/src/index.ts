/**
 * A typed client for the networkcore API: safe repeats, problems as errors, lists to their end.
 *
 *     const networkcore = connect({ baseUrl: "https://pay.example", apiKey });
 *     const authorization = unwrap(await networkcore.POST("/v1/authorizations", {
 *       params: { header: { "Idempotency-Key": newKey() } }, body: { ... } }));
 */
import createClient, { type Client, type FetchResponse } from "openapi-fetch";
import { API_VERSION } from "./api-version.js";
import type { components, paths } from "./schema.js";

export type { components, paths } from "./schema.js";
export { API_VERSION } from "./api-version.js";
export { verifyWebhook, WebhookVerificationError, type WebhookHeaders } from "./webhooks.js";

export type Schemas = components["schemas"];
export type Problem = Schemas["Problem"];

const PASSING = new Set([429, 502, 503, 504]);
const SAFE = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE"]);
const LONGEST_WAIT_MS = 30_000;

export interface Connection {
  baseUrl: string;
  apiKey: string;
  /** How often a request that may be repeated is sent, at most. */
  attempts?: number;
  /** Milliseconds that one attempt may take. */
  timeoutMs?: number;
  fetch?: (request: Request) => Promise<Response>;
}

/** The gateway's problem: `problem.code` is stable, `problem.detail` says how to mend it. */
export class NetworkcoreError extends Error {
  constructor(readonly problem: Problem) {
    super(`${problem.status} ${problem.code}: ${problem.detail} (${problem.instance})`);
    this.name = "NetworkcoreError";
  }
}

/**
 * A client for every path of the API, such as `client.GET("/v1/sessions")`. Each request names the version of the API
 * that the package was made from, whatever the key is pinned to.
 */
export function connect(connection: Connection): Client<paths> {
  return createClient<paths>({
    baseUrl: connection.baseUrl.replace(/\/+$/, ""),
    headers: { Authorization: `Bearer ${connection.apiKey}`, "Networkcore-Version": API_VERSION },
    fetch: (request) => send(request, connection),
  });
}

/** A fresh Idempotency-Key: keep it with your order, and repeat it with the same body. */
export function newKey(): string {
  return crypto.randomUUID();
}

/** The answer of a call. Throws NetworkcoreError where it is a problem. */
export function unwrap<T>(answer: { data?: T; error?: unknown; response: Response }): T {
  if (answer.error !== undefined) throw new NetworkcoreError(problemOf(answer.error, answer.response));
  return answer.data as T;
}

/** Every object of a list: `for await (const one of listAll((cursor) => client.GET(...)))`. */
export async function* listAll<T>(
  page: (cursor: string | undefined) => Promise<{
    data?: { data: T[]; has_more: boolean; next_cursor: string | null };
    error?: unknown;
    response: Response;
  }>,
): AsyncGenerator<T> {
  let cursor: string | undefined;
  do {
    const { data, has_more, next_cursor } = unwrap(await page(cursor));
    yield* data;
    cursor = has_more ? (next_cursor ?? undefined) : undefined;
  } while (cursor !== undefined);
}

async function send(request: Request, connection: Connection): Promise<Response> {
  const attempts = connection.attempts ?? 5;
  const fetchOnce = connection.fetch ?? fetch;
  const repeatable = SAFE.has(request.method) || request.headers.has("Idempotency-Key");
  for (let attempt = 1; ; attempt++) {
    const last = attempt >= attempts || !repeatable;
    let response: Response | undefined;
    try {
      const timeout = AbortSignal.timeout(connection.timeoutMs ?? 30_000);
      response = await fetchOnce(new Request(request.clone(), { signal: AbortSignal.any([request.signal, timeout]) }));
    } catch (error) {
      if (last || request.signal.aborted) throw error;
    }
    if (response !== undefined && (last || !PASSING.has(response.status))) return response;
    await response?.body?.cancel();
    await new Promise((done) => setTimeout(done, pauseMs(attempt, response)));
  }
}

function pauseMs(attempt: number, response: Response | undefined): number {
  const said = response?.headers.get("retry-after");
  if (said && /^\d+$/.test(said)) return Math.min(Number(said) * 1000, LONGEST_WAIT_MS);
  return Math.min(500 * 2 ** (attempt - 1), LONGEST_WAIT_MS) * (0.8 + 0.4 * Math.random());
}

function problemOf(error: unknown, response: Response): Problem {
  if (typeof error === "object" && error !== null && "code" in error) return error as Problem;
  return {
    type: "about:blank",
    title: response.statusText,
    status: response.status,
    code: "internal_error",
    detail: `the answer has no problem in it: ${String(error).slice(0, 200)}`,
    instance: response.headers.get("x-request-id") ?? "",
  } as Problem;
}
