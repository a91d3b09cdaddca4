// Sends a request from the reference's page. The key is in this page's memory only, and goes to this host alone.
// Served by a sandbox; without script the pages are what they were.
"use strict";

const TIMEOUT_MS = 30_000;
const LONGEST_SHOWN = 200_000;
let apiKey = "";
let count = 0;

function make(name, members = {}, ...children) {
  const one = document.createElement(name);
  for (const [key, value] of Object.entries(members)) {
    if (key in one && key !== "list") one[key] = value;
    else one.setAttribute(key, value);
  }
  one.append(...children);
  return one;
}

function field(label, input, about) {
  count += 1;
  input.id = `try-${count}`;
  const parts = [make("label", { htmlFor: input.id }, label), input];
  if (about) {
    const note = make("small", { id: `${input.id}-about` }, about);
    input.setAttribute("aria-describedby", note.id);
    parts.push(note);
  }
  return make("p", {}, ...parts);
}

function freshKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function parameterInput(one) {
  if (one.values) {
    const options = one.values.map((value) => make("option", { value }, value));
    return make("select", {}, ...(one.required ? [] : [make("option", { value: "" }, "")]), ...options);
  }
  const value = one.name === "Idempotency-Key" ? freshKey() : "";
  return make("input", { type: "text", value, required: one.required, placeholder: one.example, autocomplete: "off" });
}

function request(operation, inputs, version, body) {
  let path = operation.path;
  const query = new URLSearchParams();
  const headers = {};
  for (const [one, input] of inputs) {
    const value = input.value.trim();
    if (one.in === "path") path = path.replace(`{${one.name}}`, encodeURIComponent(value));
    else if (value !== "" && one.in === "query") query.append(one.name, value);
    else if (value !== "") headers[one.name] = value;
  }
  if (version.value) headers["Networkcore-Version"] = version.value;
  if (body && body.value.trim()) headers["Content-Type"] = operation.media;
  const text = query.toString();
  return {
    method: operation.method,
    path: text ? `${path}?${text}` : path,
    headers,
    body: body && body.value.trim() ? body.value : undefined,
  };
}

function quoted(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

function curl(asked, withKey) {
  const lines = [`curl -i -X ${asked.method} ${quoted(location.origin + asked.path)}`];
  if (withKey) lines.push("-H 'Authorization: Bearer nck_...'");
  for (const [name, value] of Object.entries(asked.headers)) lines.push(`-H ${quoted(`${name}: ${value}`)}`);
  if (asked.body !== undefined) lines.push(`--data-binary ${quoted(asked.body)}`);
  return lines.join(" \\\n  ");
}

async function readBody(response) {
  const type = response.headers.get("Content-Type") ?? "";
  if (!/json|text|xml|csv/.test(type)) {
    const content = await response.arrayBuffer();
    return content.byteLength ? `${content.byteLength} bytes of ${type}` : "";
  }
  const text = await response.text();
  let shown = text;
  if (/json/.test(type)) {
    try {
      shown = JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      shown = text;
    }
  }
  return shown.length > LONGEST_SHOWN ? `${shown.slice(0, LONGEST_SHOWN)}\n…` : shown;
}

function block(title, text) {
  return [make("h5", {}, title), make("pre", { tabIndex: 0, ariaLabel: title }, make("code", {}, text))];
}

async function send(asked, withKey, result, button) {
  button.disabled = true;
  result.replaceChildren(make("p", {}, "Sending…"));
  const began = performance.now();
  const headers = withKey ? { ...asked.headers, Authorization: `Bearer ${apiKey}` } : asked.headers;
  const line = block("As curl", curl(asked, withKey));
  try {
    const response = await fetch(new URL(asked.path, location.origin), {
      method: asked.method,
      headers,
      body: asked.body,
      credentials: "omit",
      cache: "no-store",
      redirect: "manual",
      referrerPolicy: "no-referrer",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const body = await readBody(response);
    const took = Math.round(performance.now() - began);
    const listed = [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n");
    const status = make("p", { className: response.ok ? "good" : "bad" }, `${response.status} in ${took} ms`);
    result.replaceChildren(status, ...block("Answer", body || "no body"), ...block("Headers", listed), ...line);
  } catch (error) {
    const took = Math.round(performance.now() - began);
    result.replaceChildren(make("p", { className: "bad" }, `No answer after ${took} ms: ${error.message}`), ...line);
  } finally {
    button.disabled = false;
  }
}

function build(place, operation, versions, keyInput) {
  const inputs = operation.parameters.map((one) => [one, parameterInput(one)]);
  const version = make(
    "select",
    {},
    make("option", { value: "" }, operation.public ? "the newest" : "as the key is pinned"),
    ...versions.map((name) => make("option", { value: name }, name)),
  );
  const body =
    operation.media === null ? null : make("textarea", { rows: 10, spellcheck: false, value: operation.body ?? "" });
  const button = make("button", { type: "submit" }, "Send");
  const result = make("div", { className: "result", role: "status" });
  const form = make(
    "form",
    { className: "try" },
    ...inputs.map(([one, input]) => field(one.required ? one.name : `${one.name} (optional)`, input, one.about)),
    ...(body ? [field("Body", body, "")] : []),
    field("Networkcore-Version", version, ""),
    make("p", {}, button),
    result,
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!operation.public && apiKey === "") {
      const note = make("p", { className: "bad" }, "Enter a test key at the top of the page first.");
      result.replaceChildren(note);
      keyInput.focus();
      return;
    }
    send(request(operation, inputs, version, body), !operation.public, result, button);
  });
  place.append(form);
  return form;
}

function start() {
  const places = document.querySelectorAll("[data-operation]");
  if (places.length === 0) return;
  const main = document.getElementById("content");
  const versions = JSON.parse(main.dataset.versions);
  const keyInput = make("input", { type: "password", autocomplete: "off", spellcheck: false });
  keyInput.addEventListener("input", () => {
    apiKey = keyInput.value.trim();
  });
  const about = "For “Try it” on this sandbox. It stays in this page's memory and is gone when you leave it.";
  main.querySelector("h1").after(make("form", { className: "key" }, field("Test key", keyInput, about)));
  main.querySelector("form.key").addEventListener("submit", (event) => event.preventDefault());
  for (const place of places) {
    const operation = JSON.parse(place.dataset.operation);
    const button = make("button", { type: "button", className: "open", ariaExpanded: "false" }, "Try it");
    button.setAttribute("aria-label", `Try it: ${operation.summary}`);
    let form = null;
    button.addEventListener("click", () => {
      if (form === null) form = build(place, operation, versions, keyInput);
      else form.hidden = !form.hidden;
      button.setAttribute("aria-expanded", String(!form.hidden));
    });
    place.append(button);
  }
}

start();
