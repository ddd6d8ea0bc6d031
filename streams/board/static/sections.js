// Draws each part of the page from the state of a market (streams/board/view.py).

import { bullet, diverging, sparkline, stacked } from "./charts.js";
import { byId, element, keyed, setAttribute, setText } from "./dom.js";
import { compact, count, fixed, minute, money, moneyExact, percent, signed } from "./format.js";

export const WINDOW_NAMES = { "1m": "1 min", "5m": "5 min", "1h": "1 h", "24h": "24 h" };
const WARMING = "warming";
export const RESTLESS = "Too restless to be watched within the budget: only a larger shift pages";
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

// All tiles are of one window, so that they can be compared with each other.
function tiles(page, window) {
  const total = (index) => cell(page.totals, index, window);
  const orders = total("orders");
  const currency = page.currency ?? "minor units";
  const asMoney = (text) => money(text, page.exponent ?? 0);
  const exact = (found) => (found?.value === undefined ? undefined : `${moneyExact(found.value, page.exponent ?? 0)} ${currency}`);
  const index = total("demand_index_orders");
  const restless = page.restless ? "; too restless: only a larger shift pages" : "";
  const usual = hasExpectation(orders) ? `usual ${fixed(orders.expected, orders.expected < 10 ? 1 : 0)}` : `usual: ${WARMING}`;
  return [
    { id: "demand", title: "Demand index", found: index, text: (value) => fixed(Number(value), 1), unit: "", under: index === undefined ? "usual not known yet" : "100 is usual", absent: WARMING },
    { id: "orders", title: "Orders", found: orders, text: count, unit: "", under: `${usual}${restless}` },
    { id: "sales", title: `Sales, ${currency}`, found: total("sales"), text: asMoney, unit: "", under: "placed", exact },
    { id: "payments", title: "Payments", found: total("payments"), text: count, unit: "", under: "captured" },
    { id: "basket", title: `Mean basket, ${currency}`, found: total("basket_sales"), text: asMoney, unit: "", under: "an order", exact },
    { id: "digital", title: "Digital payments", found: total("digital_share"), text: percent, unit: "%", under: "of captured" },
    { id: "failed", title: "Failed payments", found: total("payment_failure_ratio"), text: percent, unit: "%", under: "of all tried" },
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
      drawRestless(row.cells[0], member.restless);
      fillRow([...row.cells].slice(1), member, orders, top);
    },
  );
}

// A sign beside the name, whose words are there for a pointer and for a screen reader.
function drawRestless(name, restless) {
  const sign = name.querySelector(".restless");
  if (restless && !sign) name.append(element("span", { class: "restless", title: RESTLESS }, element("span", { "aria-hidden": "true" }, " ~"), element("span", { class: "unseen" }, `. ${RESTLESS}`)));
  if (!restless && sign) sign.remove();
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
      drawRestless(row.cells[0], member.restless);
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

// -- what `other` is made of -----------------------------------------------------------------------

// A label is whatever a shop has sent, in any script: <bdi> keeps its direction from its neighbours.
export function drawOthers(page) {
  const others = page.others ?? [];
  byId("others").hidden = others.length === 0;
  keyed(
    byId("others-list"),
    others,
    (each) => each.id,
    () => element("li"),
    (node, each) => {
      const parts = each.labels.map(([label, number]) => [element("bdi", {}, label), ` ${number}`]);
      if (each.rest) parts.push([each.rest]);
      const said = [element("span", { class: "of" }, `${each.head}: `), ...parts.flatMap((part, at) => (at ? [", ", ...part] : part))];
      if (node.textContent !== said.map((part) => part.textContent ?? part).join("")) node.replaceChildren(...said);
    },
  );
}
