// Answers to incidents: the buttons to give them, and what may be done here. A token in this tab says who
// answers. What was said is drawn with the incident, as Redis has it.

import { byId, element, setText } from "./dom.js";
import { figure } from "./format.js";

const KEY = "ecindex-token";
const ASKED_EVERY_MS = 60_000;
const LONGEST_MS = 14 * 86_400_000;
const KINDS = { acknowledged: "Acknowledge", expected: "Expected", false_alarm: "False alarm" };

let how = { answerable: false, pagerduty: true, pages: [] };
let asked = { market: "", at: -Infinity };
let failed = "";

// -- what may be done here -------------------------------------------------------------------------

export function answerable() {
  return how.answerable;
}

// Whether incidents can be answered here, and how often the market paged. Asked once a minute.
export function drawAnswering(market, redraw) {
  if (market === asked.market && performance.now() - asked.at < ASKED_EVERY_MS) return;
  asked = { market, at: performance.now() };
  ask(market, redraw);
}

async function ask(market, redraw) {
  try {
    const response = await fetch(`/answers?market=${encodeURIComponent(market)}`);
    if (!response.ok || market !== asked.market) return;
    const before = how.answerable;
    how = await response.json();
    setText(byId("pages"), how.pages.map(pagesLine).join(" "));
    say();
    if (before !== how.answerable) redraw();
  } catch {
    asked.at = -Infinity; // the board is away, and the page says so
  }
}

function pagesLine(count) {
  const watched = count.covered_days < count.days ? ` (${count.covered_days} watched)` : "";
  const pages = `${count.pages} page${count.pages === 1 ? "" : "s"}`;
  return `${count.days} days${watched}: ${pages}, ${count.confirmed} confirmed, ${count.false} false, ${count.open} open; false allowed ${figure(count.budget, 2)}, likely ${figure(count.lower, 1)} to ${figure(count.upper, 1)}.`;
}

function say() {
  const parts = [failed];
  if (!how.answerable) parts.push("Read-only: nobody may answer here (answers.tokens_file).");
  if (!how.pagerduty) parts.push("What is acknowledged in PagerDuty is not known here (answers.pagerduty_secret).");
  setText(byId("answering"), parts.filter(Boolean).join(" "));
}

// -- one incident ----------------------------------------------------------------------------------

// A card is drawn anew every few seconds, so its forms are in a dialog of their own.
export function buttons(incident, page) {
  const inForce = [incident.acknowledged, incident.verdict].filter(Boolean).map((each) => each.kind);
  const found = [];
  for (const [kind, words] of Object.entries(KINDS)) {
    const undo = inForce.includes(kind);
    found.push(button(undo ? `Undo: ${words.toLowerCase()}` : words, (own) => send(own, { incident: incident.id, kind, taken_back: undo })));
    if (kind === "expected" && undo) found.push(button("Until", () => changeExpected(incident, page)));
  }
  found.push(button("Note", () => addNote(incident)));
  return element("div", { class: "answers" }, ...found);
}

function button(words, onClick) {
  const made = element("button", { type: "button", class: "quiet" }, words);
  made.addEventListener("click", () => onClick(made));
  return made;
}

// -- sending ---------------------------------------------------------------------------------------

async function send(own, request) {
  const token = sessionStorage.getItem(KEY) ?? (await askToken());
  if (!token) return;
  if (own) own.disabled = true;
  try {
    const response = await fetch("/answers", {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
      body: JSON.stringify(request),
    });
    if (response.status === 401) sessionStorage.removeItem(KEY);
    failed = response.ok ? "" : `Not answered: ${(await response.text()).trim()}`;
    asked.at = -Infinity; // its pages are counted anew
  } catch {
    failed = "Not answered: the board does not answer.";
  }
  if (own && failed) own.disabled = false;
  say();
  if (failed) setText(byId("announcement"), failed);
}

async function askToken() {
  const given = await inDialog("Who answers?", [["token", "Your token; this tab keeps it until it is closed", { type: "password", autocomplete: "off" }]]);
  if (given?.token) sessionStorage.setItem(KEY, given.token);
  return given?.token;
}

async function changeExpected(incident, page) {
  const { until, factor, text, dimension, member } = incident.verdict;
  const series = dimension === "market" ? "all" : `${dimension}:${member}`;
  const given = await inDialog(`Expected: ${incident.title}`, [
    ["until", `Until, in this computer's time (the market is in ${page.time_zone})`, { type: "datetime-local", value: local(Date.parse(until)), max: local(Date.now() + LONGEST_MS) }],
    ["factor", `Times usual demand of ${series}; empty: unknown`, { type: "number", value: factor ?? "", min: 0, max: 1000, step: "any" }],
    ["text", "Why, for others", { maxlength: 1000, value: text ?? "" }],
  ]);
  if (!given?.until) return;
  await send(null, { incident: incident.id, kind: "expected", member: series, until: new Date(given.until).toISOString(), factor: given.factor === "" ? "unknown" : Number(given.factor), text: given.text });
}

async function addNote(incident) {
  const given = await inDialog(`Note: ${incident.title}`, [["text", "Note", { maxlength: 1000 }, "textarea"]]);
  if (given?.text) await send(null, { incident: incident.id, kind: "note", text: given.text });
}

function local(instant) {
  return new Date(instant - new Date(instant).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

// A dialog with fields; the promise holds their values, or null when it was closed without them.
function inDialog(title, fields) {
  const inputs = fields.map(([, , attributes, tag]) => element(tag ?? "input", attributes));
  const labels = fields.map(([, words], at) => element("label", {}, words, inputs[at]));
  const box = element("dialog", { class: "ask", "aria-label": title }, element("b", {}, title), ...labels);
  return new Promise((resolve) => {
    let values = null;
    const finish = () => {
      values = Object.fromEntries(fields.map(([name], at) => [name, inputs[at].value.trim()]));
      box.close();
    };
    box.append(element("div", { class: "answers" }, button("OK", finish), button("Cancel", () => box.close())));
    box.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target.tagName === "INPUT") finish();
    });
    box.addEventListener("close", () => {
      box.remove();
      resolve(values);
    });
    document.body.append(box);
    box.showModal();
  });
}
