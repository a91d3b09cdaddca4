// The card form of the PSP, and one payment for each tap. The card goes to the PSP alone: this page is given a token.
"use strict";

(() => {
  const form = document.getElementById("pay");
  const there = document.getElementById("pay-there"); // shown by the style sheet where the card form is late
  const LATE_MS = 7000; // what is shown by then stays: nothing moves under a finger
  if (there) {
    there.addEventListener("submit", () => {
      window.setTimeout(() => { there.querySelector("button").disabled = true; }, 0);
    });
    window.addEventListener("pageshow", (event) => {
      if (event.persisted) there.querySelector("button").disabled = false;
    });
  }
  if (!form) return;
  const button = form.querySelector("button");
  const shown = document.getElementById("card-error");
  const field = form.elements.payment_method;
  const { key, evse, amount, currency, busy, notLoaded, label, script, offline } = form.dataset;
  const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
  let sending = false;

  function say(message) {
    shown.textContent = message || "";
    shown.hidden = !message;
  }

  function rest() {
    sending = false;
    button.disabled = false;
    button.textContent = label;
  }

  // Stripe's Payment Element: cards, Apple Pay and Google Pay. The payment is confirmed by the server.
  async function stripe() {
    const psp = window.Stripe(key, { locale: document.documentElement.lang });
    const elements = psp.elements({
      mode: "payment",
      amount: Number(amount),
      currency,
      captureMethod: "manual",
      paymentMethodCreation: "manual",
      paymentMethodTypes: ["card"],
      appearance: { theme: dark ? "night" : "stripe" },
    });
    const element = elements.create("payment");
    const ready = new Promise((resolve, reject) => {
      element.on("ready", resolve);
      element.on("loaderror", reject);
    });
    element.mount("#card");
    await ready;
    return async () => {
      const checked = await elements.submit();
      return checked.error ? checked : psp.createPaymentMethod({ elements });
    };
  }

  async function sandbox() {
    const element = window.SandboxPsp(key).createElement();
    await element.mount("#card");
    return () => element.createPaymentMethod();
  }

  // The PSP's own script, from the PSP: where it can't be had, the way that needs none is offered.
  function load() {
    return new Promise((resolve, reject) => {
      const wanted = document.createElement("script");
      wanted.src = script;
      wanted.onload = resolve;
      wanted.onerror = reject;
      document.head.appendChild(wanted);
    });
  }

  async function start() {
    try {
      await load();
      const create = await (window.Stripe ? stripe() : sandbox());
      button.disabled = false;
      if (there && performance.now() < LATE_MS) there.hidden = true;
      form.addEventListener("submit", (event) => submitted(event, create));
    } catch {
      say(notLoaded);
      button.hidden = document.getElementById("card").hidden = Boolean(there);
      if (there) there.classList.add("now");
    }
  }

  async function submitted(event, create) {
    if (field.value) return; // the token is there: the form goes to the server
    event.preventDefault();
    if (sending) return;
    if (navigator.onLine === false) {
      say(offline);
      return;
    }
    sending = true;
    button.disabled = true;
    button.textContent = busy;
    say("");
    try {
      const { paymentMethod, error } = await create();
      if (error) {
        say(error.message);
        rest();
        return;
      }
      field.value = paymentMethod.id;
      form.submit();
    } catch {
      say(notLoaded);
      if (there) {
        there.hidden = false;
        there.classList.add("now");
      }
      rest();
    }
  }

  // A page that the browser has kept is shown as it was: its token is the same, so a second tap is the same payment.
  window.addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    field.value = "";
    rest();
  });

  try {
    const open = window.sessionStorage.getItem(`payment:${evse}`);
    if (open && open.startsWith("/charge/")) {
      const note = document.getElementById("open-payment");
      note.querySelector("a").href = open;
      note.hidden = false;
    }
  } catch {
    // no storage: the browser's history leads back
  }
  start();
})();
