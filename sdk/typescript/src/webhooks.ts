/** Webhooks of networkcore: the signature is checked before anything is read. */
import { Webhook } from "standardwebhooks";
import type { components } from "./schema.js";

export type WebhookHeaders = Headers | Record<string, string | string[] | undefined>;

/**
 * The event of an authentic webhook. `body` is the text as received, before any parsing; a repeat has the same `id`.
 * Throws WebhookVerificationError, also for one that was signed more than 5 minutes ago.
 */
export function verifyWebhook(body: string, headers: WebhookHeaders, secret: string): components["schemas"]["Event"] {
  const named = headers instanceof Headers ? [...headers.entries()] : Object.entries(headers);
  const plain = Object.fromEntries(
    named.map(([name, value]) => [name.toLowerCase(), Array.isArray(value) ? (value[0] ?? "") : (value ?? "")]),
  );
  new Webhook(secret).verify(body, plain);
  return JSON.parse(body) as components["schemas"]["Event"];
}
