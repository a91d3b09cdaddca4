// The page of the payment element: takes the card, and gives it to the PSP alone. In a frame it works for the script
// (element.js) of the page around it; opened by itself it takes what it needs from the address behind #.
"use strict";

const field = (id) => document.getElementById(id);
const framed = window.parent !== window;
const given = Object.fromEntries(new URLSearchParams(window.location.hash.slice(1)));

async function call(key, method, path, params) {
  const encoded = new URLSearchParams(params).toString();
  const get = method === "GET";
  const response = await fetch(get ? `${path}?${encoded}` : path, {
    method,
    headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/x-www-form-urlencoded" },
    body: get ? undefined : encoded,
  });
  const body = await response.json();
  if (!response.ok) throw body.error;
  return body;
}

function card() {
  const [month = "", year = ""] = field("expiry").value.split("/").map((part) => part.trim());
  return {
    "card[number]": field("number").value.replaceAll(" ", ""),
    "card[exp_month]": month,
    "card[exp_year]": year,
    "card[cvc]": field("cvc").value,
  };
}

const createPaymentMethod = ({ key }) => call(key, "POST", "/v1/payment_methods", { type: "card", ...card() });

async function confirm({ key, clientSecret, returnUrl }) {
  const id = clientSecret.split("_secret")[0];
  const path = id.startsWith("seti_") ? "/v1/setup_intents" : "/v1/payment_intents";
  const method = await createPaymentMethod({ key });
  const params = { client_secret: clientSecret, payment_method: method.id };
  if (returnUrl) params.return_url = returnUrl;
  return call(key, "POST", `${path}/${id}/confirm`, params);
}

function retrieve({ key, clientSecret }) {
  const id = clientSecret.split("_secret")[0];
  const path = id.startsWith("seti_") ? "/v1/setup_intents" : "/v1/payment_intents";
  return call(key, "GET", `${path}/${id}`, { client_secret: clientSecret });
}

const verbs = { createPaymentMethod, confirm, retrieve };

function show(error) {
  const inputs = { number: "number", exp_month: "expiry", exp_year: "expiry", cvc: "cvc" };
  for (const id of ["number", "expiry", "cvc"]) field(id).removeAttribute("aria-invalid");
  field("error").hidden = !error;
  field("error").textContent = error ? error.message : "";
  const wrong = error && inputs[(error.param || "").replace("card[", "").replace("]", "")];
  if (wrong) field(wrong).setAttribute("aria-invalid", "true");
  resized();
}

function resized() {
  if (framed) window.parent.postMessage({ sandboxPsp: "height", height: document.documentElement.offsetHeight }, "*");
}

async function run(verb, args) {
  show(null);
  try {
    return { result: await verbs[verb](args) };
  } catch (error) {
    const shown = error && error.message ? error : { message: "The PSP does not answer. Try again." };
    show(shown);
    return { error: { code: shown.code, decline_code: shown.decline_code, message: shown.message } };
  }
}

window.addEventListener("message", async (event) => {
  const asked = event.data;
  if (!framed || event.source !== window.parent || !asked || !(asked.sandboxPsp in verbs)) return;
  const outcome = await run(asked.sandboxPsp, asked.args);
  window.parent.postMessage({ sandboxPsp: "answer", id: asked.id, ...outcome }, event.origin);
});

field("number").addEventListener("input", (event) => {
  const digits = event.target.value.replace(/\D/g, "").slice(0, 19);
  event.target.value = digits.replace(/(.{4})(?=.)/g, "$1 ");
});
field("expiry").addEventListener("input", (event) => {
  const digits = event.target.value.replace(/\D/g, "").slice(0, 4);
  event.target.value = digits.length > 2 ? `${digits.slice(0, 2)} / ${digits.slice(2)}` : digits;
});

for (const test of JSON.parse(document.body.dataset.numbers)) {
  const button = document.createElement("button");
  button.type = "button";
  const [last, shows] = ["last", "shows"].map((name) => {
    const part = document.createElement("span");
    part.className = name;
    return button.appendChild(part);
  });
  last.textContent = `•••• ${test.last4}`;
  shows.textContent = test.shows;
  button.addEventListener("click", () => {
    field("number").value = test.number;
    field("expiry").value = "12 / 34";
    field("cvc").value = "123";
    show(null);
  });
  const item = document.createElement("li");
  item.appendChild(button);
  field("numbers").appendChild(item);
}
field("tests").addEventListener("toggle", resized);

function returned(intent) {
  const kind = intent.object;
  const address = new URL(given.return_url);
  address.searchParams.set(kind, intent.id);
  address.searchParams.set(`${kind}_client_secret`, given.client_secret);
  address.searchParams.set("redirect_status", "succeeded");
  window.location.assign(address);
}

async function submitted(event) {
  event.preventDefault();
  field("submit").disabled = true;
  const args = { key: given.publishable_key, clientSecret: given.client_secret, returnUrl: given.return_url };
  const { result } = await run("confirm", args);
  field("submit").disabled = false;
  if (!result) return;
  const action = result.next_action && result.next_action.redirect_to_url;
  if (action) window.location.assign(action.url);
  else if (given.return_url) returned(result);
  else {
    field("card").hidden = field("tests").hidden = true;
    field("done").hidden = false;
    field("done").textContent = "Done. You can close this page.";
  }
}

if (framed) {
  document.body.classList.add("framed");
  field("card").addEventListener("submit", (event) => event.preventDefault());
  window.parent.postMessage({ sandboxPsp: "ready" }, "*");
} else {
  field("heading").hidden = field("submit").hidden = false;
  const saves = (given.client_secret || "").startsWith("seti_");
  field("title").textContent = saves ? "Save your card" : "Pay with your card";
  field("submit").textContent = saves ? "Save card" : "Pay";
  field("card").addEventListener("submit", submitted);
  if (!given.client_secret || !given.publishable_key) {
    field("submit").disabled = true;
    show({ message: "Open this page with #publishable_key=...&client_secret=...&return_url=... in its address." });
  }
}
resized();
