/** Webhooks of networkcore: the signature is checked before anything is read. */
import { ed25519 } from "@noble/curves/ed25519.js";
import { Webhook, WebhookVerificationError } from "standardwebhooks";
import type { components } from "./schema.js";

export { WebhookVerificationError } from "standardwebhooks";
export type WebhookHeaders = Headers | Record<string, string | string[] | undefined>;

const PUBLIC_KEY = "whpk_";
const SCHEME = "v1a,";
const TOLERANCE_S = 300;

/**
 * The event of an authentic webhook. `body` is the text as received, before any parsing; a repeat has the same `id`.
 * `secret` is the endpoint's shared secret (`whsec_...`), or its public key (`whpk_...`) where it signs with v1a.
 * Throws WebhookVerificationError, also for one that was signed more than 5 minutes ago.
 */
export function verifyWebhook(body: string, headers: WebhookHeaders, secret: string): components["schemas"]["Event"] {
  const named = headers instanceof Headers ? [...headers.entries()] : Object.entries(headers);
  const plain = Object.fromEntries(
    named.map(([name, value]) => [name.toLowerCase(), Array.isArray(value) ? (value[0] ?? "") : (value ?? "")]),
  );
  if (secret.startsWith(PUBLIC_KEY)) verifyAsymmetric(body, plain, secret);
  else new Webhook(secret).verify(body, plain);
  return JSON.parse(body) as components["schemas"]["Event"];
}

/** The v1a signatures (Ed25519) of Standard Webhooks 1.0: one of them is by this key. */
function verifyAsymmetric(body: string, headers: Record<string, string>, publicKey: string): void {
  const id = headers["webhook-id"];
  const stamp = headers["webhook-timestamp"] ?? "";
  const signatures = headers["webhook-signature"];
  if (!id || !signatures || !/^[0-9]+$/.test(stamp)) {
    throw new WebhookVerificationError("a header is missing or unusable");
  }
  if (Math.abs(Date.now() / 1000 - Number(stamp)) > TOLERANCE_S) {
    throw new WebhookVerificationError("the message was not signed within five minutes");
  }
  const key = bytes(publicKey.slice(PUBLIC_KEY.length));
  if (key?.length !== 32) throw new WebhookVerificationError("the public key is not whpk_ and 32 bytes in base64");
  const content = new TextEncoder().encode(`${id}.${stamp}.${body}`);
  const proven = signatures.split(" ").some((one) => {
    const signature = one.startsWith(SCHEME) ? bytes(one.slice(SCHEME.length)) : undefined;
    return signature?.length === 64 && valid(signature, content, key);
  });
  if (!proven) throw new WebhookVerificationError("no signature is by this key");
}

function valid(signature: Uint8Array, content: Uint8Array, key: Uint8Array): boolean {
  try {
    return ed25519.verify(signature, content, key);
  } catch {
    return false; // the bytes are no signature or no key
  }
}

function bytes(text: string): Uint8Array | undefined {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}
