// Incidents: one card for each that goes on, what is only suspected, and a line for each that is over.

import { answerable, buttons } from "./answers.js";
import { bar } from "./charts.js";
import { byId, element, keyed, setAttribute, setText } from "./dom.js";
import { date, dayAndMinute, fixed, moment } from "./format.js";
import { knowsUsual } from "./sections.js";

const SIGNS = { outage: "■", drop: "▼", jump: "▲", drift: "◆" };
const WAYS = { 1: "above", "-1": "below", 0: "" };
const CARDS_MAX = 3;
const ROWS_MAX = 4;

let drawn = "";

// -- a card ----------------------------------------------------------------------------------------

function timeline(incident, zone, now) {
  const known = incident.timeline.map(([what, at], index, all) => `${what} ${moment(at, all[index - 1]?.[1] ?? now, zone)}`);
  const sent = incident.sent ? [] : ["sent: not known"]; // nothing says so where `ecindex notify` is not used
  return element("p", { class: "timeline" }, [...known, ...sent].join(" · "));
}

function expected(command) {
  const copy = element("button", { type: "button", class: "quiet" }, "Copy");
  const code = element("code", { tabindex: "0", "aria-label": "Command" }, command);
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(command);
      setText(copy, "Copied");
    } catch {
      getSelection().selectAllChildren(code); // only a secure origin has a clipboard
      setText(copy, "Selected");
    }
  });
  return element(
    "details",
    { class: "expected-event" },
    element("summary", {}, "Mark as expected"),
    element("p", {}, "Run this command. Paging stops for six hours, and they do not change what is usual. Add --until TIME and --factor N where you know better:"),
    element("div", { class: "command" }, code, copy),
  );
}

function series(shifts) {
  const groups = new Map();
  for (const shift of shifts) groups.set(shift.dimension, [...(groups.get(shift.dimension) ?? []), shift]);
  const lines = [...groups].map(([dimension, members]) =>
    element("p", {}, element("b", {}, `${dimension}: `), members.map((each) => `${each.label} × ${fixed(each.ratio, 2)}${each.withdrawn ? " (withdrawn)" : each.over ? " (over)" : ""}`).join(", ")),
  );
  return element("details", { class: "series" }, element("summary", {}, `${shifts.length} series shifted`), ...lines);
}

function part(text, name) {
  return text ? element("p", { class: name }, text) : "";
}

function card(incident, page, chosen, now) {
  const shifts = incident.shifts ?? [];
  const box = element(
    "article",
    { class: `incident ${incident.kind} ${WAYS[incident.direction]}`, "data-id": incident.id, "data-state": incident.silenced ? "silenced" : incident.state, tabindex: "-1", "data-chosen": chosen ? "true" : null },
    element("h3", {}, element("span", { class: "sign", "aria-hidden": "true" }, SIGNS[incident.kind] ?? "●"), element("span", {}, incident.title)),
    part(incident.now, "now"),
    part(incident.missed, "missed"),
    part(incident.affected, "affected"),
    part(incident.size, "dim"),
    timeline(incident, page.time_zone, now),
    ...(incident.answers ?? []).map((line) => part(line, "answer")),
    part(incident.evidence ? `${incident.evidence.charAt(0).toUpperCase()}${incident.evidence.slice(1)}.` : "", "dim"),
    answerable() ? buttons(incident, page) : "",
    element(
      "div",
      { class: "more" },
      shifts.length > 1 ? series(shifts) : "",
      incident.command && !answerable() ? expected(incident.command) : "",
      element("a", { href: link(page.market, incident.id) }, "Link"),
    ),
  );
  return box;
}

// A link may be older than what is kept.
export function gone(id) {
  return `Incident ${id} is not known any more: the newest incidents are kept, for 35 days.`;
}

export function link(market, id) {
  return `?market=${encodeURIComponent(market)}&incident=${encodeURIComponent(id)}`;
}

function row(incident, page, onChoose, now) {
  const open = element("a", { href: link(page.market, incident.id) }, incident.title);
  open.addEventListener("click", (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    onChoose(incident.id);
  });
  const when = incident.state === "withdrawn" ? `withdrawn ${dayAndMinute(incident.over, page.time_zone)}` : incident.over ? `${dayAndMinute(incident.began, page.time_zone)} to ${moment(incident.over, incident.began, page.time_zone)}` : `since ${moment(incident.since ?? incident.began, now, page.time_zone)}`;
  return element("li", { class: `${incident.kind} ${WAYS[incident.direction]}`, "data-id": incident.id }, element("span", { class: "sign", "aria-hidden": "true" }, SIGNS[incident.kind] ?? "●"), element("span", {}, open, element("small", {}, ` ${when}`)));
}

// A list of which the first lines are seen: a phone's page with 29 of them was five screens long.
function rows(lines, of, rest) {
  const first = element("ul", { class: "rows" }, ...lines.slice(0, ROWS_MAX));
  if (lines.length <= ROWS_MAX) return [first];
  return [first, element("details", { class: "older", "data-of": of }, element("summary", {}, `${lines.length - ROWS_MAX} ${rest}`), element("ul", { class: "rows" }, ...lines.slice(ROWS_MAX)))];
}

// A shift of which nobody says to which incident it belongs: an earlier release published it.
function loose(shift, page, now) {
  const size = shift.ratio === undefined ? "" : ` × ${fixed(shift.ratio, 2)}${shift.lower === undefined || shift.upper === undefined ? "" : ` (${fixed(shift.lower, 2)} to ${fixed(shift.upper, 2)})`}`;
  const start = shift.start ? `since ${moment(shift.start, now, page.time_zone)}` : "";
  const counts = shift.observed !== undefined && shift.expected !== undefined ? `${fixed(shift.observed, 0)} where ${fixed(shift.expected, 0)} are usual` : "";
  return element(
    "article",
    { class: `incident shift ${WAYS[shift.direction]}` },
    element("h3", {}, element("span", { class: "sign", "aria-hidden": "true" }, { 1: "▲", "-1": "▼", 0: "●" }[shift.direction]), element("span", {}, `${shift.label} (${shift.dimension.replace("_", " ")})${size}`)),
    part([start, counts].filter(Boolean).join("; "), "now"),
    element("div", { class: "more" }, shift.command ? expected(shift.command) : ""),
  );
}

// -- what is not an incident -----------------------------------------------------------------------

function suspicions(list) {
  return element(
    "ul",
    { class: "suspicions", "aria-label": "Suspected" },
    ...list.map((each) =>
      element("li", { class: WAYS[each.direction] }, element("span", { class: "sign", "aria-hidden": "true" }, each.direction > 0 ? "△" : "▽"), element("span", {}, each.line), bar(Math.min(each.evidence, 1))),
    ),
  );
}

// Series whose orders of the window lie outside their usual range.
function outside(page, window) {
  const cells = [page.totals, ...Object.values(page.dimensions).flat().map((member) => member.cells)].map((row) => row.orders?.[window]);
  const known = cells.filter((found) => found?.expected !== undefined && found.value !== undefined);
  return [known.filter((found) => Number(found.value) > found.upper || Number(found.value) < found.lower).length, known.length];
}

// What may be said when nothing is open and nothing suspected, of these very values.
function calm(page, window, windowName, state) {
  if (state === "stale") return ["Unknown", "The values shown are old. What happens now is not known."];
  if (!knowsUsual(page, window)) return ["Warming", "An incident compares demand with what is usual at this hour, which is not known yet. Until then, top movers compare the last minute with the minutes before."];
  const [beyond, all] = outside(page, window);
  if (beyond === 0) return ["None", "Every series is within what is usual."];
  return ["No incident", `${beyond} of ${all} series ${beyond === 1 ? "is" : "are"} outside the usual range of the last ${windowName}. Evidence is too little to suspect a shift.`];
}

// -- all of it -------------------------------------------------------------------------------------

// `now`: the board's instant; what is of another day has its date.
export function drawIncidents(page, window, windowName, { chosen, state, now, onChoose }) {
  const { open = [], past = [], suspicions: suspected = [] } = page.incidents ?? {};
  const shifts = page.shifts ?? [];
  const quiet = !open.length && !shifts.length && !suspected.length ? calm(page, window, windowName, state) : null;
  const shown = JSON.stringify([answerable(), page.market, open, past, suspected, shifts, quiet, chosen, date(now, page.time_zone)]);
  if (shown === drawn) return; // so that an open command stays open
  drawn = shown;
  const box = byId("incidents");
  const kept = new Set([...box.querySelectorAll("article details[open]")].map((each) => `${each.closest("article").dataset.id}|${each.className}`));
  const focus = box.contains(document.activeElement) ? box.querySelector("article:focus-within")?.dataset.id : undefined;
  const first = open.filter((each) => each.id === chosen);
  const cards = [...first, ...open.filter((each) => each.id !== chosen)];
  const old = past.find((each) => each.id === chosen);
  setText(byId("incidents-note"), open.length > 1 ? `${open.length} open` : ""); // the list scrolls: few are seen at once
  const parts = [];
  if (chosen && !first.length && !old) parts.push(element("p", { class: "gone" }, gone(chosen)));
  if (quiet) parts.push(element("div", { class: "empty" }, element("p", { class: "empty-head" }, quiet[0]), element("p", {}, quiet[1])));
  parts.push(...cards.slice(0, CARDS_MAX).map((each) => card(each, page, each.id === chosen, now)));
  if (old) parts.push(card(old, page, true, now));
  if (suspected.length) parts.push(element("h3", { class: "group" }, "Suspected, not paged"), suspicions(suspected));
  const rest = cards.slice(CARDS_MAX);
  if (rest.length) parts.push(element("h3", { class: "group" }, `${rest.length} more`), ...rows(rest.map((each) => row(each, page, onChoose, now)), "rest", "others"));
  parts.push(...shifts.slice(0, CARDS_MAX).map((each) => loose(each, page, now)));
  if (shifts.length > CARDS_MAX) parts.push(element("p", { class: "note" }, `and ${shifts.length - CARDS_MAX} more shifts`));
  const over = past.filter((each) => each.id !== chosen);
  if (over.length) {
    const lines = over.map((each) => row(each, page, onChoose, now));
    parts.push(element("h3", { class: "group" }, "Over"), ...rows(lines, "over", "earlier"));
  }
  const unfolded = new Set([...box.querySelectorAll("details.older[open]")].map((each) => each.dataset.of));
  box.replaceChildren(...parts);
  for (const each of box.querySelectorAll("article details")) each.open = kept.has(`${each.closest("article").dataset.id}|${each.className}`);
  for (const each of box.querySelectorAll("details.older")) each.open = unfolded.has(each.dataset.of);
  if (focus) box.querySelector(`article[data-id="${CSS.escape(focus)}"]`)?.focus({ preventScroll: true });
}

// Spans of incidents for the chart, which shows the market as a whole. What was withdrawn has none: it never was.
export function spans(page) {
  const { open = [], past = [] } = page?.incidents ?? {};
  return [...past.filter((each) => each.state !== "withdrawn"), ...open].map((each) => ({
    from: Date.parse(each.began),
    to: each.over ? Date.parse(each.over) : null,
    kind: each.kind,
    whole: Boolean(each.whole),
    way: WAYS[each.direction],
    text: each.title,
  }));
}

// The other markets where something is wrong, one line each.
export function drawElsewhere(markets, own) {
  const wrong = markets.filter((each) => each.market !== own && each.headline);
  const list = byId("elsewhere");
  list.hidden = wrong.length === 0;
  keyed(
    list,
    wrong,
    (each) => each.market,
    (each) => element("li", {}, element("span", { class: "dot", "aria-hidden": "true" }), element("a", { href: `?market=${encodeURIComponent(each.market)}` })),
    (node, each) => {
      setAttribute(node, "data-level", each.level);
      setText(node.lastElementChild, each.headline);
    },
  );
}
