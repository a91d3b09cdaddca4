// Checks a settlement statement in the viewer's browser, with nothing but the statement: the seal of each record, each
// line's arithmetic and exchange, each line's entry in its journal batch (transfer hashes, entry, way to the Merkle root,
// batch hash, chain), the payment and the sums. The rules are those of `networkcore verify`.
"use strict";

const encoder = new TextEncoder();
const SEPARATOR = "\x1f";
const MOST_ROWS = 1000;

function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function unhex(text) {
  if (!/^([0-9a-f]{2})*$/.test(text)) throw new Error("not hexadecimal");
  return Uint8Array.from(text.match(/../g) || [], (pair) => parseInt(pair, 16));
}

async function sha256(...parts) {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return new Uint8Array(await crypto.subtle.digest("SHA-256", whole));
}

// RFC 8785 for what a statement holds: names in order, no spaces, integers and texts.
function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value !== null && typeof value === "object") {
    const members = Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`);
    return `{${members.join(",")}}`;
  }
  if (typeof value === "number" && !Number.isSafeInteger(value)) throw new Error("a number that is no integer");
  return JSON.stringify(value);
}

// The instant as the batch's hash has it: UTC, six digits of a second.
function instant(text) {
  const found = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(Z|[+-]\d\d:\d\d)$/.exec(text);
  if (!found) throw new Error("no instant");
  const seconds = new Date(`${found[1]}${found[3]}`).toISOString().slice(0, 19);
  return `${seconds}.${(found[2] || "").padEnd(6, "0")}+00:00`;
}

const bytes = (number) => Uint8Array.of(number);
const keyOf = (one) => [one.subject_id, one.kind, one.reference].join(SEPARATOR);
const MOST_MARKUP_BPS = 1000;
const BASIS_POINTS = 10000;
const RATE = /^(\d{1,20})(?:\.(\d{1,40}))?$/;
const DAY = /^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$/;

// The digits of currencies that do not have two after the point (ISO 4217), from a text such as "JPY 0 BHD 3".
function digitsOf(text) {
  return new Map(Array.from(text.matchAll(/([A-Z]{3}) (\d)/g), (found) => [found[1], Number(found[2])]));
}

// Minor units of a lock's base in minor units of its quote: exact, rounded once, half away from zero. A lock that is none
// is an error.
function exchanged(owed, fx, digits) {
  const rate = RATE.exec(fx.rate);
  const markup = fx.markup_bps;
  const sound = rate && Number.isSafeInteger(markup) && markup >= 0 && markup <= MOST_MARKUP_BPS;
  if (!sound || !DAY.test(fx.rate_date) || !fx.source || fx.base === fx.quote) throw new Error("no rate");
  const fraction = rate[2] || "";
  const of = (currency) => digits.get(currency) ?? 2;
  const shift = of(fx.quote) - of(fx.base);
  let exact = BigInt(owed) * BigInt(rate[1] + fraction) * BigInt(BASIS_POINTS - markup);
  let unit = 10n ** BigInt(fraction.length) * BigInt(BASIS_POINTS);
  if (shift > 0) exact *= 10n ** BigInt(shift);
  else unit *= 10n ** BigInt(-shift);
  const size = exact < 0n ? -exact : exact;
  const whole = Number((2n * size + unit) / (2n * unit));
  return exact < 0n ? -whole : whole;
}

// Whether a line's amount is what is owed by its rate. What is reversed is the difference of two exchanges, each rounded
// once; a line that does not say what is owed has only its amount.
function exchangeAgrees(line, currency, digits) {
  if (line.fx === null) return true;
  if (line.fx.quote !== currency) return false;
  const due = exchanged(line.owed_minor ?? 0, line.fx, digits);
  return line.owed_minor === null || Math.abs(due - line.amount_minor) <= (line.kind === "capture" ? 0 : 1);
}

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

function arithmetic(line) {
  const price = line.price;
  if (price !== null && price.gross_minor !== price.net_minor + price.vat_minor) return false;
  const signed = (name) => sum(line.supplies.map((one) => (one.side === "made" ? one[name] : -one[name])));
  const part = signed("net_minor");
  const vat = signed("vat_minor");
  if (part !== line.part_minor || vat !== line.part_vat_minor) return false;
  if (line.deducted_minor !== null && line.deducted_minor !== price.net_minor - part - line.other_minor) return false;
  if (line.owed_minor === null) return true;
  if (line.owed_minor !== part + vat - line.psp_fee_minor + line.other_minor) return false;
  return line.fx !== null || line.owed_minor === line.amount_minor;
}

class Statement {
  constructor(texts) {
    this.texts = texts;
    this.digits = digitsOf(texts.exponents);
    this.before = "";
    this.waiting = new Map();
    this.moved = new Map();
    this.origins = { new: 0, returned: 0, carried_forward: 0 };
    this.kinds = {};
    this.lines = 0;
    this.heads = new Map();
    this.rows = [];
    this.closed = false;
  }

  row(what, amount, problem) {
    const row = { number: this.rows.length + 1, what, amount, problem: problem || "" };
    this.rows.push(row);
    return row;
  }

  async take(text) {
    const record = JSON.parse(text);
    const { sha256: stated, ...content } = record;
    const sealed = hex(await sha256(encoder.encode(`${this.before}\n${canonical(content)}`)));
    const broken = canonical(record) !== text || stated !== sealed ? this.texts.altered : "";
    this.before = stated;
    if (this.closed && record.type !== "status") return this.row(String(record.type), null, this.texts.altered);
    switch (record.type) {
      case "statement":
        this.head = record;
        return this.row(record.disbursement, record.opening_minor, broken);
      case "line":
        return this.line(record, broken);
      case "batch":
        return this.batch(record, broken);
      case "payment":
        return this.payment(record, broken);
      case "closing":
        return this.closing(record, broken);
      case "status":
        return this.row(record.state, null, broken);
      default:
        return this.row(String(record.type), null, this.texts.altered);
    }
  }

  line(record, broken) {
    this.lines += 1;
    const counted = record.line === this.lines && record.origin in this.origins && !this.waiting.has(keyOf(record));
    this.origins[record.origin] += record.amount_minor;
    const kind = (this.kinds[record.kind] = this.kinds[record.kind] || { count: 0, amount_minor: 0 });
    kind.count += 1;
    kind.amount_minor += record.amount_minor;
    const problem =
      broken ||
      (counted ? "" : this.texts.altered) ||
      (arithmetic(record) ? "" : this.texts.sums) ||
      (exchangeAgrees(record, this.head.currency, this.digits) ? "" : this.texts.exchange);
    const row = this.row(record.session || record.about || record.kind, record.amount_minor, problem);
    row.fx = record.fx;
    this.waiting.set(keyOf(record), { record, row });
  }

  async batch(record, broken) {
    this.moved = new Map();
    let root = "";
    let proved = record.entries.length > 0;
    for (const entry of record.entries) {
      const found = await this.root(entry);
      proved = proved && (root === "" || root === found);
      root = found;
    }
    const place = [record.chain, record.position, instant(record.booked_at)].join(SEPARATOR);
    const digest = hex(
      await sha256(bytes(3), unhex(record.previous_hash), unhex(root), encoder.encode(place)),
    );
    const head = this.heads.get(record.chain);
    const follows =
      !head ||
      (record.position > head.position && (record.position > head.position + 1 || record.previous_hash === head.hash));
    this.heads.set(record.chain, { position: record.position, hash: record.hash });
    proved = proved && digest === record.hash && follows;
    const entries = new Map(record.entries.map((entry) => [keyOf(entry), entry]));
    for (const [key, { record: line, row }] of this.waiting) {
      const entry = entries.get(key);
      const same =
        proved &&
        entry &&
        this.moved.get(key) === line.amount_minor &&
        entry.cdr_id === (line.cdr_id || "") &&
        record.booked_at === line.booked_at;
      if (!same && !row.problem) row.problem = this.texts.journal;
    }
    const extra = this.waiting.size > 0 && record.entries.some((entry) => !this.waiting.has(keyOf(entry)));
    this.paying = this.waiting.size === 0 ? this.moved : new Map();
    this.waiting = new Map();
    const what = `${this.texts.batch} ${record.chain}/${record.position}`;
    return this.row(what, null, broken || (proved && !extra ? "" : this.texts.journal));
  }

  async root(entry) {
    const { account, currency } = this.head;
    const hashes = [];
    let moved = 0;
    for (const transfer of entry.transfers) {
      if (typeof transfer === "string") {
        hashes.push(unhex(transfer));
        continue;
      }
      const { debit, credit, minor } = transfer;
      if (transfer.currency !== currency || (debit !== account && credit !== account)) throw new Error("account");
      moved += credit === account ? minor : -minor;
      const line = [debit, credit, minor, transfer.currency].join(SEPARATOR);
      hashes.push(await sha256(bytes(2), unhex(transfer.blind), encoder.encode(line)));
    }
    this.moved.set(keyOf(entry), moved);
    const about = [
      entry.subject_id.replaceAll("-", ""),
      entry.kind,
      entry.reference,
      entry.tariff_sha256,
      entry.cdr_id,
      entry.legs_sha256,
    ].join(SEPARATOR);
    let node = await sha256(bytes(0), await sha256(encoder.encode(about)), ...hashes);
    for (const [side, sibling] of entry.path) {
      const other = unhex(sibling);
      node = side === "left" ? await sha256(bytes(1), other, node) : await sha256(bytes(1), node, other);
    }
    return hex(node);
  }

  payment(record, broken) {
    const posted = (this.paying || new Map()).get([this.head.disbursement_id, "disbursement", ""].join(SEPARATOR));
    this.paid = record.amount_minor;
    const proved = this.waiting.size === 0 && posted === -record.amount_minor;
    return this.row(this.texts.payment, record.amount_minor, broken || (proved ? "" : this.texts.journal));
  }

  closing(record, broken) {
    const { proof } = record;
    const { origins } = this;
    const total = sum(Object.values(origins));
    const agrees =
      record.lines === this.lines &&
      canonical(record.sums) === canonical(this.kinds) &&
      proof.opening_minor === this.head.opening_minor &&
      proof.payout_minor === this.paid &&
      Object.keys(origins).every((name) => proof[`${name}_minor`] === origins[name]) &&
      total === this.paid &&
      proof.opening_minor + origins.new + origins.returned + proof.later_minor === this.paid + proof.closing_minor;
    this.closed = true;
    this.seal = record.sha256;
    return this.row(this.texts.closing, proof.closing_minor, broken || (agrees ? "" : this.texts.sums));
  }
}

async function check(section) {
  const texts = section.dataset;
  const answer = await fetch(texts.proof, { credentials: "same-origin" });
  if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
  const statement = new Statement(texts);
  const lines = (await answer.text()).split("\n").filter((line) => line !== "");
  for (const [index, text] of lines.entries()) {
    try {
      await statement.take(text);
    } catch {
      statement.row(`${texts.line} ${index + 1}`, null, texts.altered);
    }
  }
  if (!statement.closed) statement.row(texts.closing, null, texts.altered);
  const expected = answer.headers.get("X-Statement-SHA256");
  if (statement.closed && expected !== statement.seal) {
    statement.rows.at(-1).problem = statement.rows.at(-1).problem || texts.altered;
  }
  return statement;
}

function cell(row, label, text) {
  const found = row.insertCell();
  found.dataset.label = label;
  if (text === "") return found;
  const shown = document.createElement("span");
  shown.textContent = text;
  found.append(shown);
  return found;
}

function show(section, statement) {
  const texts = section.dataset;
  const wrong = statement.rows.filter((row) => row.problem);
  const badge = section.querySelector("[data-verdict]");
  badge.className = `badge ${wrong.length ? "bad" : "good"}`;
  badge.textContent = wrong.length ? texts.disagrees : texts.agrees;
  const currency = (statement.head || {}).currency || "";
  const digits = Number(texts.digits);
  const number = new Intl.NumberFormat(document.documentElement.lang, {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });
  const money = (minor) => (minor === null ? "" : `${number.format(minor / 10 ** digits)}\u00a0${currency}`);
  section.querySelector("[data-result]").textContent =
    `${statement.rows.length - wrong.length} / ${statement.rows.length} ${texts.records}` +
    (statement.seal ? ` · SHA-256 ${statement.seal}` : "");
  const body = section.querySelector("tbody");
  const shown = statement.rows.length > MOST_ROWS ? wrong.slice(0, MOST_ROWS) : statement.rows;
  for (const one of shown) {
    const row = body.insertRow();
    cell(row, "#", String(one.number));
    const what = cell(row, texts.what, one.what);
    if (one.fx) {
      const rate = document.createElement("span");
      rate.className = "dim small why";
      const less = one.fx.markup_bps ? ` −${one.fx.markup_bps} bp` : "";
      rate.textContent = `${one.fx.base}/${one.fx.quote} ${one.fx.rate}${less} · ${one.fx.source} ${one.fx.rate_date}`;
      what.append(rate);
    }
    cell(row, texts.amount, money(one.amount)).className = "amount";
    const verdict = cell(row, texts.result, one.problem || texts.agrees).firstChild;
    verdict.className = `badge ${one.problem ? "bad" : "good"}`;
  }
  section.querySelector("table").hidden = shown.length === 0;
}

async function begin(section) {
  const badge = section.querySelector("[data-verdict]");
  try {
    show(section, await check(section));
  } catch {
    badge.className = "badge bad";
    badge.textContent = section.dataset.unread;
  }
}

for (const section of document.querySelectorAll("[data-proof]")) {
  section.querySelector("[data-verdict]").textContent = section.dataset.running;
  begin(section);
}
