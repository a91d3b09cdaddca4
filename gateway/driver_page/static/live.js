// A payment's page that changes by itself: by server-sent events, else by asking every few seconds.
"use strict";

(() => {
  const root = document.getElementById("payment");
  const { base, evse, follow } = root.dataset;
  const lang = document.documentElement.lang;
  const OVER = new Set(["declined", "released", "free", "unpaid", "not_collected"]);
  const PAUSE_MS = 5000;
  let failures = 0;
  let source = null;
  let timer = null;

  const current = () => document.getElementById("live");

  // The tab remembers an open payment, so that the way back to the price leads here again.
  function remember() {
    try {
      const name = `payment:${evse}`;
      if (OVER.has(current().dataset.stage) || current().dataset.stage === "paid") window.sessionStorage.removeItem(name);
      else window.sessionStorage.setItem(name, base);
    } catch {
      // no storage: the browser's history leads back
    }
  }

  // Within a stage only figures change: a button that is being pressed stays where it is.
  function apply(html) {
    const next = new DOMParser().parseFromString(html, "text/html").getElementById("live");
    const now = current();
    if (!next || next.outerHTML === now.outerHTML) return;
    const names = (one) => [...one.querySelectorAll("[data-field]")].map((field) => field.dataset.field).join();
    const rest = (one) => {
      const copy = one.cloneNode(true);
      copy.querySelectorAll("[data-field]").forEach((field) => { field.textContent = ""; });
      copy.querySelectorAll("details").forEach((details) => details.removeAttribute("open"));
      return copy.outerHTML;
    };
    if (names(next) === names(now) && rest(next) === rest(now)) {
      now.querySelectorAll("[data-field]").forEach((field) => {
        const fresh = next.querySelector(`[data-field="${field.dataset.field}"]`);
        if (field.textContent !== fresh.textContent) field.textContent = fresh.textContent;
      });
    } else {
      now.replaceWith(document.importNode(next, true));
      document.title = next.querySelector("h1").textContent;
    }
    remember();
    if (current().dataset.moving === "0") end();
  }

  function end() {
    if (source) source.close();
    window.clearTimeout(timer);
    source = timer = null;
  }

  async function ask() {
    try {
      const response = await fetch(`${base}/live?lang=${lang}`, { cache: "no-store" });
      if (response.ok) apply(await response.text());
    } catch {
      // no connection: asked again
    }
    if (current().dataset.moving === "1") timer = window.setTimeout(ask, PAUSE_MS);
  }

  function listen() {
    if (!("EventSource" in window)) {
      ask();
      return;
    }
    source = new EventSource(`${base}/events?lang=${lang}`);
    source.addEventListener("live", (event) => {
      failures = 0;
      apply(event.data);
    });
    source.onerror = () => {
      failures += 1;
      if (source && (failures > 2 || source.readyState === EventSource.CLOSED)) {
        source.close();
        source = null;
        ask();
      }
    };
  }

  document.addEventListener("submit", (event) => {
    const button = event.target.querySelector("button");
    if (button) window.setTimeout(() => { button.disabled = true; }, 0);
  });
  window.addEventListener("pageshow", (event) => { if (event.persisted) window.location.reload(); });

  remember();
  const bank = document.getElementById("bank");
  if (bank && follow) {
    window.history.replaceState(null, "", base);
    window.location.assign(bank.href);
  } else if (current().dataset.moving === "1" || current().dataset.stage === "confirm") listen();
})();
