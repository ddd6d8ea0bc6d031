// Draws each part of the page from the state of a market (streams/board/view.py).

import { bullet, diverging, sparkline, stacked } from "./charts.js";
import { byId, element, keyed, setAttribute, setText } from "./dom.js";
import { compact, count, fixed, minute, money, moneyExact, percent, signed } from "./format.js";

export const WINDOW_NAMES = { "1m": "1 min", "5m": "5 min", "1h": "1 h", "24h": "24 h" };
const WARMING = "warming";
const TONES = 7;

function cell(row, index, window) {
  return row?.[index]?.[window];
}

function hasExpectation(found) {
  return found !== undefined && found.expected !== undefined;
}

export function knowsUsual(page, window) {
  return hasExpectation(cell(page.totals, "orders", window));
}

// Text in place of a missing number.
function missing(found) {
  if (found === undefined || found.status === "no_data" || found.status === "ok") return "–";
  return found.status ?? "–";
}

function shown(found, text) {
  return found === undefined || found.value === undefined ? missing(found) : text(found.value);
}

// -- totals ----------------------------------------------------------------------------------------

function tiles(page, window) {
  const total = (index, in_window) => cell(page.totals, index, in_window);
  const orders = total("orders", "1m");
  const currency = page.currency ?? "minor units";
  const asMoney = (text) => money(text, page.exponent ?? 0);
  const exact = (found) => (found?.value === undefined ? undefined : `${moneyExact(found.value, page.exponent ?? 0)} ${currency}`);
  const index = total("demand_index_orders", window) ?? total("demand_index_orders", "1m");
  const usual = hasExpectation(orders) ? `usual ${fixed(orders.expected, orders.expected < 10 ? 1 : 0)}` : `usual: ${WARMING}`;
  const name = WINDOW_NAMES[window];
  return [
    { id: "demand", title: "Demand index", found: index, text: (value) => fixed(Number(value), 1), unit: "", under: index === undefined ? "usual not known yet" : `100 is usual, ${name}`, absent: WARMING },
    { id: "orders", title: "Orders a minute", found: orders, text: count, unit: "", under: usual },
    { id: "sales", title: "Sales a minute", found: total("sales", "1m"), text: asMoney, unit: currency, under: "placed, last minute", exact },
    { id: "payments", title: "Payments a minute", found: total("payments", "1m"), text: count, unit: "", under: "captured, last minute" },
    { id: "basket", title: "Mean basket", found: total("basket_sales", window), text: asMoney, unit: currency, under: `an order, ${name}`, exact },
    { id: "digital", title: "Digital payments", found: total("digital_share", window), text: percent, unit: "%", under: `of captured, ${name}` },
    { id: "failed", title: "Failed payments", found: total("payment_failure_ratio", window), text: percent, unit: "%", under: `of all tried, ${name}` },
  ];
}

export function drawTotals(page, window) {
  keyed(
    byId("totals"),
    tiles(page, window),
    (tile) => tile.id,
    (tile) =>
      element("div", { class: "tile", id: `tile-${tile.id}` }, element("dt", {}, tile.title), element("dd", {}, element("data", {}), element("span", { class: "unit" })), element("dd", { class: "under" })),
    (node, tile) => {
      const there = tile.found !== undefined && tile.found.value !== undefined;
      const data = node.querySelector("data");
      setText(data, there ? tile.text(tile.found.value) : (tile.absent ?? missing(tile.found)));
      setAttribute(data, "value", there ? tile.found.value : "");
      setAttribute(data, "title", tile.exact?.(tile.found));
      setAttribute(data, "class", there ? null : "absent");
      setText(node.querySelector(".unit"), there ? tile.unit : "");
      setText(node.querySelector(".under"), tile.under);
    },
  );
}

// -- members ---------------------------------------------------------------------------------------

function number(found) {
  return found?.value === undefined ? 0 : Number(found.value);
}

function memberRow(columns, member) {
  const name = element("th", { scope: "row" }, member.label);
  return element("tr", {}, name, ...columns.map((column) => element("td", { class: column })));
}

function putNumber(node, found, text, exact) {
  setText(node, shown(found, text));
  setAttribute(node, "data-value", found?.value);
  setAttribute(node, "title", found?.value === undefined ? null : exact?.(found.value));
}

function putIndex(node, found) {
  putNumber(node, found, (value) => fixed(Number(value), 0));
  if (found === undefined) setText(node, "–");
}

const narrow = matchMedia("(max-width: 700px)");

// A phone has no room for ten digits in a table, so the exact amount is the title.
function putMoney(node, found, exponent) {
  const short = (text) => (narrow.matches ? compact(Number(text) / 10 ** exponent) : money(text, exponent));
  putNumber(node, found, short, (text) => moneyExact(text, exponent));
}

function tone(found) {
  if (!hasExpectation(found) || found.value === undefined) return null;
  if (Number(found.value) > found.upper) return "above";
  return Number(found.value) < found.lower ? "below" : null;
}

function largest(members, window) {
  return Math.max(1, ...members.map((member) => Math.max(number(cell(member.cells, "orders", window)), cell(member.cells, "orders", window)?.upper ?? 0)));
}

function drawMembers(id, page, dimension, window, columns, fillRow) {
  const members = page.dimensions[dimension] ?? [];
  const table = byId(id);
  const top = largest(members, window);
  setAttribute(table, "data-usual", knowsUsual(page, window) ? "known" : WARMING);
  setText(table.querySelector("th.bars"), knowsUsual(page, window) ? "Against usual" : "Orders, to scale");
  keyed(
    table.tBodies[0],
    members,
    (member) => member.member,
    (member) => memberRow(columns, member),
    (row, member) => {
      const orders = cell(member.cells, "orders", window);
      setAttribute(row, "data-tone", tone(orders));
      fillRow([...row.cells].slice(1), member, orders, top);
    },
  );
}

export function drawCategories(page, window) {
  const exponent = page.exponent ?? 0;
  const columns = ["spark", "bars", "number", "number usual", "number usual", "number money", "number share"];
  drawMembers("categories", page, "category", window, columns, (cells, member, orders, top) => {
    const [spark, bars, ordersCell, usual, index, sales, share] = cells;
    const points = member.spark ?? [];
    spark.replaceChildren(sparkline(page.spark_ms ?? [], points, `${member.label}: orders a minute over ${points.length / 2} minutes`));
    bars.replaceChildren(bullet(number(orders), orders, top));
    putNumber(ordersCell, orders, count);
    setText(usual, hasExpectation(orders) ? fixed(orders.expected, orders.expected < 10 ? 1 : 0) : "–");
    putIndex(index, cell(member.cells, "demand_index_orders", window));
    putMoney(sales, cell(member.cells, "sales", window), exponent);
    putNumber(share, cell(member.cells, "category_share_by_sales", window), percent);
  });
  const note = knowsUsual(page, window)
    ? "mark: usual orders; shaded: their usual range; coloured: outside the range"
    : `usual: ${WARMING}. Bars show only orders until enough history is known`;
  setText(byId("categories-note"), note);
  setText(byId("categories").querySelector("th.money"), `Sales ${page.currency ?? ""}`.trim());
}

function drawPlain(id, dimension, page, window) {
  const exponent = page.exponent ?? 0;
  drawMembers(id, page, dimension, window, ["bars", "number", "number usual", "number money"], (cells, member, orders, top) => {
    const [bars, ordersCell, index, sales] = cells;
    bars.replaceChildren(bullet(number(orders), orders, top));
    putNumber(ordersCell, orders, count);
    putIndex(index, cell(member.cells, "demand_index_orders", window));
    putMoney(sales, cell(member.cells, "sales", window), exponent);
  });
  setText(byId(id).querySelector("th.money"), `Sales ${page.currency ?? ""}`.trim());
}

export function drawRegions(page, window) {
  drawPlain("regions", "region", page, window);
  drawPlain("channels", "channel", page, window);
}

// -- payment mix -----------------------------------------------------------------------------------

export function drawPayments(page, window) {
  const members = page.dimensions.payment_method ?? [];
  const toneOf = (at) => Math.min(at, TONES - 1);
  const rows = [
    ["chosen", "payment_chosen_share"],
    ["captured", "payment_share_by_count"],
  ].map(([name, index]) => {
    const parts = members.map((member, at) => [number(cell(member.cells, index, window)), toneOf(at)]);
    const text = members.map((member) => `${member.label} ${shown(cell(member.cells, index, window), percent)} %`).join(", ");
    return element("div", { class: "mix" }, element("span", { class: "what" }, name), stacked(parts, `${name}: ${text}`));
  });
  byId("mix").replaceChildren(...rows);
  const indices = ["payment_chosen_share", "payment_share_by_count", "payment_share_by_amount", "payment_failure_ratio"];
  keyed(
    byId("payments").tBodies[0],
    members,
    (member) => member.member,
    (member) => {
      const row = memberRow(["number", "number", "number amount", "number"], member);
      row.cells[0].prepend(element("span", { class: "swatch", "aria-hidden": "true" }));
      return row;
    },
    (row, member) => {
      row.cells[0].firstElementChild.className = `swatch tone-${toneOf(members.indexOf(member))}`;
      indices.forEach((index, at) => putNumber(row.cells[at + 1], cell(member.cells, index, window), percent));
    },
  );
}

// -- movers ----------------------------------------------------------------------------------------

export function drawMovers(page) {
  const movers = page.movers;
  const list = movers?.members ?? [];
  const top = Math.max(...list.map((each) => Math.abs(each.orders - each.expected)), 1);
  let note = "Nothing to compare yet: the log must cover two windows.";
  if (movers) {
    note =
      movers.basis === "expected"
        ? `Difference from usual orders, last ${WINDOW_NAMES[movers.window]}.`
        : `Orders of the last minute minus the mean minute of the last ${WINDOW_NAMES[movers.basis]}; usual orders are still ${WARMING}.`;
  }
  setText(byId("movers-note"), note);
  keyed(
    byId("movers"),
    list,
    (each) => `${each.dimension}:${each.member}`,
    (each) => element("li", {}, element("span", { class: "name" }, each.label, element("small", {}, ` ${each.dimension}`)), element("span", { class: "way" }), element("span", { class: "number" }), element("span", { class: "of number" })),
    (node, each) => {
      const [, way, difference, of] = node.children;
      way.replaceChildren(diverging(each.orders - each.expected, top));
      setText(difference, signed(each.orders - each.expected));
      setText(of, `${fixed(each.orders, 0)} / ${fixed(each.expected, each.expected < 10 ? 1 : 0)}`);
    },
  );
}

// -- shifts ----------------------------------------------------------------------------------------

const WAYS = { 1: ["▲", "above", "Demand above usual"], "-1": ["▼", "below", "Demand below usual"], 0: ["●", "", "Demand not as usual"] };

// What a series of each dimension counts; orders where none is named.
const COUNTED = { payment_method: "payments", payment_failure: "failed payments" };

function sizeText(shift) {
  if (shift.ratio === undefined) return "";
  const range = shift.lower === undefined || shift.upper === undefined ? "" : ` (${fixed(shift.lower, 2)} to ${fixed(shift.upper, 2)})`;
  return `× ${fixed(shift.ratio, 2)}${range}`;
}

function explanation(shift, zone) {
  const parts = [];
  if (shift.start) parts.push(`since ${minute(shift.start, zone)}`);
  if (shift.observed !== undefined && shift.expected !== undefined) {
    parts.push(`${fixed(shift.observed, 0)} ${COUNTED[shift.dimension] ?? "orders"} where ${fixed(shift.expected, 0)} are usual`);
  }
  if (shift.evidence !== undefined) parts.push(`evidence ${fixed(shift.evidence, 1)} times the paging threshold`);
  return parts.join("; ");
}

function contributors(shift) {
  return shift.contributors?.length
    ? element("p", {}, "mostly ", shift.contributors.map((each) => each.label + (each.observed !== undefined && each.expected !== undefined ? ` ${signed(each.observed - each.expected)}` : "")).join(", "))
    : "";
}

function shiftCard(shift, zone) {
  const [sign, way, words] = WAYS[shift.direction];
  const copy = element("button", { type: "button", class: "quiet" }, "Copy");
  const command = element("code", { tabindex: "0", "aria-label": "Command" }, shift.command);
  copy.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(shift.command);
      setText(copy, "Copied");
    } catch {
      getSelection().selectAllChildren(command); // only a secure origin has a clipboard
      setText(copy, "Selected");
    }
  });
  return element(
    "article",
    { class: `shift ${way}` },
    element("h3", {}, element("span", { class: "sign", "aria-hidden": "true" }, sign), element("span", {}, shift.label), element("small", {}, shift.dimension.replace("_", " ")), element("span", { class: "size" }, sizeText(shift)), element("span", { class: "unseen" }, `. ${words}`)),
    element("p", {}, explanation(shift, zone)),
    contributors(shift),
    shift.command ? element("details", {}, element("summary", {}, "Mark as expected"), element("p", {}, "Run this command with the end and the factor that you expect. Paging stops, and the hours do not change what is usual:"), element("div", { class: "command" }, command, copy)) : "",
  );
}

let drawnShifts = "";

export function drawShifts(page, window) {
  const shifts = page.shifts ?? [];
  const state = JSON.stringify([page.market, shifts, knowsUsual(page, window)]);
  if (state === drawnShifts) return; // so that an open command stays open
  drawnShifts = state;
  if (shifts.length) {
    byId("shifts").replaceChildren(...shifts.map((shift) => shiftCard(shift, page.time_zone)));
    return;
  }
  const [head, text] = knowsUsual(page, window)
    ? ["None", "No confirmed shift: every series is within its usual range, or its evidence is below the paging threshold."]
    : ["Warming", "A shift compares demand with what is usual at this hour, which is not known yet. Until then, top movers compare the last minute with the minutes before."];
  byId("shifts").replaceChildren(element("div", { class: "empty" }, element("p", { class: "empty-head" }, head), element("p", {}, text)));
}
