// In a frame of the payment script, the page that opened the challenge hears that it is over.
"use strict";
const outcome = document.body.dataset.done;
if (outcome && window.parent !== window) {
  window.parent.postMessage({ sandboxPsp: "challenge", outcome }, "*");
}
