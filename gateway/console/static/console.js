// The little that a page can't do without script: the viewer's zone, copying an id, giving a rejected form back
// what was typed into it, and figures that follow what happens.
"use strict";
document.documentElement.classList.add("script");

(function rememberZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
  const known = document.cookie.split("; ").find((pair) => pair.startsWith("networkcore_zone="));
  if (known === `networkcore_zone=${encodeURIComponent(zone)}`) return;
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie =
    `networkcore_zone=${encodeURIComponent(zone)}; path=/console; max-age=31536000; SameSite=Lax${secure}`;
  const kept = document.cookie.includes("networkcore_zone=");
  if (kept && zone !== "UTC" && document.querySelector("time")) location.reload();
})();

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.classList.add("copied");
    setTimeout(() => button.classList.remove("copied"), 1200);
  } catch {
    const range = document.createRange();
    range.selectNodeContents(button.previousElementSibling);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  }
});

const TYPED = "networkcore_typed";
const NOT_KEPT = ["hidden", "file", "password", "submit", "button", "checkbox", "radio"];

document.addEventListener("submit", (event) => {
  const form = event.target;
  const sure = form.dataset.sure;
  if (sure && !confirm(sure)) {
    event.preventDefault();
    return;
  }
  if (form.method !== "post") return;
  const kept = [...form.elements].filter((one) => one.name && !NOT_KEPT.includes(one.type));
  const fields = Object.fromEntries(kept.map((one) => [one.name, one.value]));
  sessionStorage.setItem(TYPED, JSON.stringify({ action: form.getAttribute("action"), fields }));
});

(function giveBackWhatWasTyped() {
  const text = sessionStorage.getItem(TYPED);
  sessionStorage.removeItem(TYPED);
  const problem = document.getElementById("problem");
  if (!problem) return;
  const { action, fields } = JSON.parse(text || "{}");
  const form = [...document.forms].find((one) => action && one.getAttribute("action") === action);
  for (const [name, value] of Object.entries(form ? fields : {})) {
    const field = form.elements.namedItem(name);
    if (field && "value" in field) field.value = value;
  }
  const wrong = form && problem.dataset.field ? form.elements.namedItem(problem.dataset.field) : null;
  if (wrong && "value" in wrong) {
    wrong.setAttribute("aria-invalid", "true");
    wrong.setAttribute("aria-describedby", "problem");
    wrong.focus();
  } else {
    (document.querySelector("[aria-invalid]") || problem).focus();
  }
})();

// Where a phone lays the cells of a table out as blocks, its roles have to be said.
const ROLES = { table: "table", thead: "rowgroup", tbody: "rowgroup", tfoot: "rowgroup", tr: "row", td: "cell" };
for (const table of document.querySelectorAll("table.list")) {
  for (const one of [table, ...table.querySelectorAll("thead, tbody, tfoot, tr, td, th")]) {
    const name = one.localName;
    one.setAttribute("role", ROLES[name] || (one.scope === "row" ? "rowheader" : "columnheader"));
  }
}

document.addEventListener("change", (event) => {
  if (event.target.matches("select[data-go]")) event.target.form.requestSubmit();
});

// Figures that follow what happens, by server-sent events; they rest while the page is hidden or paused.
(function follow() {
  const shown = document.querySelector("[data-live]");
  if (!shown || !("EventSource" in window)) return;
  const PAUSE_MS = 10000;
  const pause = document.querySelector("[data-pause]");
  const texts = pause && [pause.textContent, pause.dataset.resumeText];
  let paused = false;
  let source = null;
  let timer = null;

  function apply(html) {
    if (paused || shown.contains(document.activeElement)) return;
    const open = [...shown.querySelectorAll("details")].map((one) => one.open);
    const fresh = new DOMParser().parseFromString(html, "text/html").body;
    fresh.querySelectorAll("details").forEach((one, number) => { one.open = Boolean(open[number]); });
    shown.replaceChildren(...fresh.childNodes);
  }

  function rest() {
    if (source) source.close();
    clearTimeout(timer);
    source = timer = null;
  }

  // A stream that can't be opened: the person is signed out, or there are too many.
  async function again() {
    rest();
    try {
      const stop = new AbortController();
      const answer = await fetch(shown.dataset.live, { redirect: "manual", cache: "no-store", signal: stop.signal });
      stop.abort();
      if (answer.type === "opaqueredirect") location.reload();
    } catch {
      // no connection: tried again
    }
    timer = setTimeout(listen, PAUSE_MS);
  }

  function listen() {
    rest();
    if (paused || document.hidden) return;
    source = new EventSource(shown.dataset.live);
    source.addEventListener("live", (event) => apply(event.data));
    source.addEventListener("over", () => {
      rest();
      location.reload();
    });
    source.onerror = () => { if (source && source.readyState === EventSource.CLOSED) again(); };
  }

  if (pause) {
    pause.addEventListener("click", () => {
      paused = !paused;
      pause.textContent = texts[paused ? 1 : 0];
      listen();
    });
  }
  document.addEventListener("visibilitychange", listen);
  addEventListener("pagehide", rest);
  addEventListener("pageshow", (event) => { if (event.persisted) listen(); });
  listen();
})();
