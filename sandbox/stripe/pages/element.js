// The sandbox PSP's script for an app's page. Card numbers are typed into a frame of the PSP's own origin.
//
//   const psp = SandboxPsp(publishableKey);
//   const element = psp.createElement();
//   await element.mount("#card");
//   await element.confirm({ clientSecret, returnUrl });   // {intent} or {error}; may leave the page for a challenge
//   await element.createPaymentMethod();                  // {paymentMethod} or {error}: to pay once
//   await psp.handleNextAction({ clientSecret });         // {intent} or {error}: a payment that requires action
"use strict";

(() => {
  const origin = new URL(document.currentScript.src).origin;

  function frame(path, height) {
    const shown = document.createElement("iframe");
    shown.src = `${origin}${path}`;
    shown.title = "Card";
    shown.style.cssText = `width:100%;border:0;height:${height}px`;
    return shown;
  }

  function element(key) {
    const shown = frame("/_sandbox/element", 240);
    const waiting = new Map();
    let number = 0;
    let ready;
    const isReady = new Promise((resolve) => { ready = resolve; });
    window.addEventListener("message", ({ source, origin: from, data }) => {
      if (source !== shown.contentWindow || from !== origin || !data) return;
      if (data.sandboxPsp === "ready") ready();
      if (data.sandboxPsp === "height") shown.style.height = `${data.height}px`;
      if (data.sandboxPsp === "answer") {
        waiting.get(data.id)(data);
        waiting.delete(data.id);
      }
    });
    async function ask(verb, args) {
      await isReady;
      number += 1;
      const id = number;
      const answer = new Promise((resolve) => waiting.set(id, resolve));
      shown.contentWindow.postMessage({ sandboxPsp: verb, id, args: { key, ...args } }, origin);
      return answer;
    }
    return {
      mount(place) {
        const within = typeof place === "string" ? document.querySelector(place) : place;
        within.appendChild(shown);
        return isReady;
      },
      ask,
      async createPaymentMethod() {
        const { result, error } = await ask("createPaymentMethod", {});
        return error ? { error } : { paymentMethod: result };
      },
      async confirm({ clientSecret, returnUrl }) {
        const { result, error } = await ask("confirm", { clientSecret, returnUrl });
        return error ? { error } : act(this, result, clientSecret);
      },
    };
  }

  // A redirect leaves the page; else the challenge is shown over it, and the intent read once it is over.
  async function act(using, intent, clientSecret) {
    if (intent.status !== "requires_action") return { intent };
    const redirect = intent.next_action.redirect_to_url;
    if (redirect) {
      window.location.assign(redirect.url);
      return new Promise(() => {});
    }
    await challenge(intent);
    const { result, error } = await using.ask("retrieve", { clientSecret });
    return error ? { error } : { intent: result };
  }

  function challenge(intent) {
    const collection = intent.id.startsWith("seti_") ? "setup_intents" : "payment_intents";
    const shown = frame(`/_sandbox/${collection}/${intent.id}/authenticate`, 420);
    const over = document.createElement("div");
    over.style.cssText = "position:fixed;inset:0;display:grid;align-content:center;background:rgb(27 36 51 / 60%)";
    over.appendChild(shown);
    document.body.appendChild(over);
    return new Promise((resolve) => {
      window.addEventListener("message", function heard({ source, origin: from, data }) {
        if (source !== shown.contentWindow || from !== origin || !data || data.sandboxPsp !== "challenge") return;
        window.removeEventListener("message", heard);
        over.remove();
        resolve();
      });
    });
  }

  window.SandboxPsp = (key) => ({
    createElement: () => element(key),
    async handleNextAction({ clientSecret }) {
      const hidden = element(key);
      const place = document.body.appendChild(document.createElement("div"));
      place.hidden = true;
      await hidden.mount(place);
      const { result, error } = await hidden.ask("retrieve", { clientSecret });
      const outcome = error ? { error } : await act(hidden, result, clientSecret);
      place.remove();
      return outcome;
    },
  });
})();
