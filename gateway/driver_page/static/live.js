// A payment's page that changes by itself: by server-sent events; by asking every few seconds while they can't be had,
// and by events again afterwards. A phone that has slept, or was without a connection, asks at once when it wakes.
"use strict";

(() => {
  const root = document.getElementById("payment");
  const offline = document.getElementById("offline");
  const { base, evse, follow } = root.dataset;
  const lang = document.documentElement.lang;
  const OVER = new Set(["declined", "released", "lapsed", "free", "unpaid", "not_collected", "paid"]);
  const WAITS = new Set(["confirm", "at_psp"]);
  const PAUSE_MS = 5000;
  const PATIENCE_MS = 10000; // for one answer
  const SILENCE_MS = 60000; // a stream says every 15 seconds that it lives
  const ASKED_BETWEEN = 3; // answers before the stream is tried again
  let failures = 0;
  let asked = 0;
  let source = null;
  let timer = null;
  let watch = null;
  let asking = false;

  const current = () => document.getElementById("live");
  const changes = () => current().dataset.moving === "1" || WAITS.has(current().dataset.stage);

  // The tab remembers an open payment, so that the way back to the price leads here again.
  function remember() {
    try {
      const name = `payment:${evse}`;
      if (OVER.has(current().dataset.stage)) window.sessionStorage.removeItem(name);
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
    if (!changes()) end();
  }

  function connected(is) {
    offline.hidden = is;
  }

  function end() {
    if (source) source.close();
    window.clearTimeout(timer);
    window.clearTimeout(watch);
    source = timer = watch = null;
  }

  async function ask() {
    if (asking) return;
    asking = true;
    end();
    const given = new AbortController();
    const late = window.setTimeout(() => given.abort(), PATIENCE_MS);
    try {
      const response = await fetch(`${base}/live?lang=${lang}`, { cache: "no-store", signal: given.signal });
      if (response.ok) apply(await response.text());
      connected(true);
      asked += 1;
    } catch {
      connected(false); // asked again
      asked = 0;
    }
    window.clearTimeout(late);
    asking = false;
    if (!changes()) return;
    if (asked >= ASKED_BETWEEN && "EventSource" in window) listen();
    else timer = window.setTimeout(ask, PAUSE_MS);
  }

  function listen() {
    end();
    asked = failures = 0;
    if (!("EventSource" in window)) {
      ask();
      return;
    }
    const stream = new EventSource(`${base}/events?lang=${lang}`);
    source = stream;
    const heard = () => {
      failures = 0;
      connected(true);
      window.clearTimeout(watch);
      if (source === stream) watch = window.setTimeout(ask, SILENCE_MS);
    };
    stream.addEventListener("open", heard);
    stream.addEventListener("alive", heard);
    stream.addEventListener("live", (event) => {
      heard();
      apply(event.data);
    });
    stream.addEventListener("error", () => {
      if (source !== stream) return;
      failures += 1;
      if (failures > 2 || stream.readyState === EventSource.CLOSED) ask();
    });
    watch = window.setTimeout(ask, SILENCE_MS);
  }

  // What may have happened meanwhile is read at once; then the stream is opened anew.
  function wake() {
    if (document.visibilityState !== "visible" || !changes()) return;
    asked = ASKED_BETWEEN;
    ask();
  }

  document.addEventListener("submit", (event) => {
    if (navigator.onLine === false) { // the browser's own page would take this one's place
      event.preventDefault();
      connected(false);
      offline.scrollIntoView({ block: "nearest" });
      return;
    }
    const button = event.target.querySelector("button");
    if (button) window.setTimeout(() => { button.disabled = true; }, 0);
  });
  document.addEventListener("visibilitychange", wake);
  window.addEventListener("online", wake);
  window.addEventListener("offline", () => connected(false));
  window.addEventListener("pageshow", (event) => { if (event.persisted) window.location.reload(); });

  remember();
  const bank = document.getElementById("bank");
  if (bank && follow) {
    window.history.replaceState(null, "", base);
    window.location.assign(bank.href);
  } else if (changes()) listen();
})();
