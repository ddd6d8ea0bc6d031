// The page: one stream of states from the board. Each state is drawn as a whole when it comes.

import { drawAnswering } from "./answers.js";
import { lineChart } from "./charts.js";
import { byId, choice, element, keyed, setAttribute, setText } from "./dom.js";
import { age, compact, count, date, dayAndMinute, minute, moneyExact, time } from "./format.js";
import { drawElsewhere, drawIncidents, gone, link, spans } from "./incidents.js";
import { RESTLESS, WINDOW_NAMES, drawCategories, drawMovers, drawOthers, drawPayments, drawRegions, drawTotals } from "./sections.js";

const TICK_MS = 250;
const BEATS_MISSED_MS = 2_500;
const SPANS = { "1h": [3_600_000, "1 h"], "6h": [21_600_000, "6 h"], "26h": [93_600_000, "26 h"] };
const MEASURES = { orders: ["Orders", 1], sales: ["Sales", 2] };
const SHORTEST_MS = 600_000;
const CHART_HEIGHT = 220;
const LEVELS = ["outage", "shift", "suspicion", "stale", "filling", "fine"]; // the worst first
const WORDS = { outage: "outage", shift: "incident", suspicion: "suspicion", stale: "old values", filling: "filling", fine: "live" };
const SIGNS = { outage: "■ OUTAGE", shift: "▲ INCIDENT", suspicion: "△", stale: "⚠" };

const asked = new URLSearchParams(location.search);

const state = {
  market: asked.get("market") ?? marketOf(asked.get("incident") ?? ""),
  incident: asked.get("incident") ?? "",
  found: "", // the incident that was scrolled to
  page: null,
  history: [],
  beat: null,
  beatAt: 0, // performance.now() when the beat came; only this clock advances ages
  connected: false,
  window: "",
  measure: "orders",
  span: "1h",
  said: "",
};

// The market in the name of an incident: MARKET-YYYYMMDDTHHMM-up.
function marketOf(incident) {
  return /^(.+)-\d{8}T\d{4}-(?:up|down)$/.exec(incident)?.[1] ?? "";
}

// -- stream ----------------------------------------------------------------------------------------

let stream = null;

function listen() {
  stream?.close();
  // The browser reconnects by itself, and sends the id of the last event that it had.
  stream = new EventSource(`/events?market=${encodeURIComponent(state.market)}`);
  stream.addEventListener("market", (event) => receive("page", event));
  stream.addEventListener("history", (event) => receive("history", event));
  stream.addEventListener("beat", (event) => receive("beat", event));
  stream.addEventListener("error", () => {
    state.connected = false;
    tick();
  });
}

function receive(kind, event) {
  const data = JSON.parse(event.data);
  state.connected = true;
  if (kind === "beat") {
    state.beat = data;
    state.beatAt = performance.now();
    if (!state.market) chooseFirst();
    drawMarkets();
  } else if (data.market === state.market) {
    state[kind] = kind === "history" ? data.points : data;
    draw();
  }
  tick();
}

function chooseFirst() {
  const byOrders = [...state.beat.markets].sort((left, right) => Number(right.orders ?? -1) - Number(left.orders ?? -1));
  if (!byOrders.length) return;
  const { incident } = state; // a link whose end was cut off names no market
  choose(byOrders[0].market, true);
  state.incident = incident;
}

function choose(market, replace = false) {
  if (market === state.market) return;
  Object.assign(state, { market, incident: "", page: null, history: [], window: "" });
  const url = `?market=${encodeURIComponent(market)}`;
  if (replace) history.replaceState(null, "", url);
  else history.pushState(null, "", url);
  byId("main").setAttribute("aria-busy", "true");
  drawMarkets();
  listen();
}

addEventListener("popstate", () => {
  const now = new URLSearchParams(location.search);
  const incident = now.get("incident") ?? "";
  const market = now.get("market") ?? marketOf(incident);
  if (market && market !== state.market) {
    Object.assign(state, { market, incident, page: null, history: [], window: "" });
    drawMarkets();
    listen();
  } else {
    state.incident = incident;
    draw();
  }
});

function chooseIncident(id) {
  Object.assign(state, { incident: id, found: "" });
  history.pushState(null, "", link(state.market, id));
  draw();
}

// -- markets and freshness -------------------------------------------------------------------------

function drawMarkets() {
  keyed(
    byId("markets"),
    state.beat?.markets ?? [],
    (each) => each.market,
    (each) => {
      const link = element("a", { href: `?market=${encodeURIComponent(each.market)}` }, element("span", { class: "dot", "aria-hidden": "true" }), element("span", { class: "code" }, each.market), element("span", { class: "unseen" }), element("span", { class: "orders" }));
      link.addEventListener("click", (event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey) return; // opens another tab
        event.preventDefault();
        choose(each.market);
      });
      return element("li", {}, link);
    },
    (node, each) => {
      const link = node.firstElementChild;
      const [, , words, orders] = link.children;
      setAttribute(node, "data-state", each.state);
      setAttribute(node, "data-level", each.level);
      setAttribute(link, "aria-current", each.market === state.market ? "page" : null);
      setAttribute(link, "title", each.name);
      setText(words, ` ${each.name}, ${each.state}${each.headline ? `: ${each.headline}` : `, ${WORDS[each.level]}`}`);
      setText(orders, each.orders === null ? "–" : count(each.orders));
    },
  );
  drawElsewhere(state.beat?.markets ?? [], state.market);
}

// The worst of what is known of a market and what the ages say now.
function levelOf(market, found) {
  const known = state.beat?.markets.find((each) => each.market === market)?.level ?? "filling";
  return worst([known, found.state === "stale" ? "stale" : "fine"]);
}

function worst(levels) {
  return LEVELS.find((level) => levels.includes(level)) ?? "fine";
}

// Which source is how far behind. One input that stands still makes only its own values old.
function behind(asOf, gone) {
  const late = Object.entries(state.page?.sources ?? {})
    .map(([source, text]) => [source, Date.parse(state.beat.now) - Date.parse(text) + gone])
    .filter(([, old]) => old > state.beat.behind_after_ms)
    .map(([source, old]) => `${source} ${age(old)}`);
  return late.join(", ") || age(asOf);
}

// State of the numbers now, from their ages, without waiting for another event.
function judge() {
  if (!state.beat) return { state: "waiting", text: "connecting" };
  const gone = performance.now() - state.beatAt;
  const own = state.beat.markets.find((each) => each.market === state.market);
  const ages = own && own.published_age_ms !== null ? { published: own.published_age_ms + gone, asOf: own.as_of_age_ms + gone } : {};
  const limits = state.beat;
  // Ages grow alike whether the board or the publisher died. Without beats the board is gone, and the
  // state of the publisher is unknown.
  const unheard = gone > BEATS_MISSED_MS && ages.published > limits.silent_after_ms;
  if (unheard || gone > limits.silent_after_ms) {
    return { state: "stale", text: "no connection", why: `No connection to the board for ${age(gone)}. The values shown are old.`, ...ages };
  }
  if (limits.redis) return { state: "stale", text: "Redis away", why: `${limits.redis}. The values shown are old.`, ...ages };
  if (!own) {
    const none = state.beat.markets.length === 0;
    return { state: "stale", text: none ? "nothing published" : "unknown market", why: none ? "No market was published within the last day." : `Nobody publishes ${state.market}.` };
  }
  // Of a Cluster one node may be away while the others go on.
  if (own.redis) return { state: "stale", text: "Redis away", why: `${own.name}: ${own.redis}. The values shown are old.`, ...ages };
  if (own.state === "absent") {
    return { state: "stale", text: "absent", why: `${own.name}: nothing is published. Values are unknown, not zero. The values shown were last published ${age(ages.published ?? 0)} ago.`, ...ages };
  }
  if (ages.published > limits.silent_after_ms) {
    return { state: "stale", text: "publishing stopped", why: `${own.name}: publishing stopped ${age(ages.published)} ago. The values shown are old.`, ...ages };
  }
  if (ages.asOf > limits.behind_after_ms) {
    return { state: "stale", text: "behind", why: `${own.name}: the values are correct, but ${behind(ages.asOf, gone)} behind.`, ...ages };
  }
  // Values that hold hardly anything of what was sent are not those of the shop, however fresh they are.
  if (limits.inputs.some((each) => each.severe)) return { state: "stale", text: "events refused", why: "", ...ages };
  return { state: "live", text: "live", ...ages };
}

// What does not count of the inputs, whatever else is wrong.
function refused() {
  return (state.beat?.inputs ?? []).map((each) => each.text);
}

function tick() {
  const found = judge();
  const freshness = byId("freshness");
  setAttribute(freshness, "data-state", found.state);
  setAttribute(document.body, "data-state", found.state);
  const level = levelOf(state.market, found);
  setAttribute(document.body, "data-level", level);
  setAttribute(freshness, "data-level", level);
  setText(byId("state"), found.state === "live" && level !== "fine" ? `live · ${WORDS[level]}` : found.text);
  const asOf = byId("as-of");
  if (state.page) {
    const { as_of: at, time_zone: zone } = state.page;
    const day = date(at, zone);
    const other = day === date(state.beat?.now ?? at, zone) ? "" : `${day}, `;
    setText(asOf, `${other}${time(at, zone)} ${state.page.zone}`);
    setAttribute(asOf, "datetime", state.page.as_of);
  }
  setText(byId("age"), found.asOf === undefined ? "–" : `${age(found.asOf)} ago`);
  const alarm = byId("alarm");
  const why = [found.why, ...refused()].filter(Boolean).join(" ");
  alarm.hidden = !why;
  setText(alarm, why);
  const now = `${state.market} ${found.text} ${level}`;
  if (state.said !== now) {
    // Seconds that count up are only shown; a screen reader announces each change of state or level once.
    state.said = now;
    const headline = state.beat?.markets.find((each) => each.market === state.market)?.headline;
    const worse = level === "fine" ? "" : `: ${headline || WORDS[level]}`;
    setText(byId("announcement"), why || (found.state === "live" ? `${state.market} is live${worse}` : ""));
  }
  drawTab(found, level);
  if (state.page && found.state !== state.drawnState) draw(); // what may be said depends on it
}

// Title and icon say the worst of all markets: most tabs are looked at from the outside.
function drawTab(found, level) {
  const others = (state.beat?.markets ?? []).filter((each) => each.market !== state.market);
  const most = worst([level, ...others.map((each) => each.level)]);
  const where = most === level ? "" : ` ${others.find((each) => each.level === most).market}`;
  const stale = found.state === "stale" && most !== "stale" ? "⚠ " : "";
  const sign = SIGNS[most] ? `${stale}${SIGNS[most]}${where} · ` : "";
  const name = state.page ? `${state.page.name}, ` : "";
  document.title = `${sign.replace(/^⚠ · /, "⚠ ")}${name}ecindex`;
  setAttribute(byId("icon"), "href", SIGNS[most] ? `/static/icon-${most}.svg` : "/static/icon.svg");
}

// -- the values ------------------------------------------------------------------------------------

function windowShown(page) {
  const covered = Object.entries(page.windows).filter(([, window]) => window.status === "ok").map(([name]) => name);
  if (state.window && page.windows[state.window]) return state.window;
  if (covered.includes("5m")) return "5m";
  return covered[0] ?? "1m";
}

function draw() {
  const page = state.page;
  if (!page) return;
  const window = windowShown(page);
  const found = judge();
  state.drawnState = found.state;
  byId("main").removeAttribute("aria-busy");
  setText(byId("title"), `Live e-commerce index of ${page.name}`);
  choice(byId("window"), "window", Object.keys(page.windows).map((name) => [name, WINDOW_NAMES[name] ?? name]), window, (chosen) => {
    state.window = chosen;
    draw();
  });
  const own = page.windows[window];
  setText(byId("coverage"), !own || own.status === "ok" ? "" : `${own.status}: the log covers ${Math.round(own.covered * 100)} % of it`);
  drawTotals(page, window);
  drawCategories(page, window);
  drawPayments(page, window);
  drawRegions(page, window);
  drawMovers(page);
  drawOthers(page);
  drawAnswering(page.market, draw);
  drawIncidents(page, window, WINDOW_NAMES[window] ?? window, { chosen: state.incident, state: found.state, now: state.beat?.now ?? page.as_of, onChoose: chooseIncident });
  showChosen(page);
  drawChart();
  const parts = [`Edition ${page.edition}`, `phase ${page.phase}`, `amounts in ${page.currency ?? "minor units"}`, `times in ${page.time_zone}`];
  if (page.left_out) parts.push(`${page.left_out} values of the smallest members are not in the snapshot`);
  if (Object.values(page.dimensions).flat().some((member) => member.restless)) parts.push(`~ ${RESTLESS.toLowerCase()}`);
  setText(byId("foot"), `${parts.join(" · ")} · late events can still revise live values`);
  const dashboard = document.getElementById("dashboard"); // only where links.grafana is set
  if (dashboard) dashboard.search = `?var-market=${encodeURIComponent(page.market)}&var-window=${window}`;
}

// Whoever follows a link to an incident lands on its card, once.
function showChosen(page) {
  if (!state.incident || state.found === state.incident) return;
  state.found = state.incident;
  const { open = [], past = [] } = page.incidents ?? {};
  const incident = [...open, ...past].find((each) => each.id === state.incident);
  const card = document.querySelector("[data-chosen]");
  if (!incident || !card) {
    setText(byId("announcement"), gone(state.incident));
    document.querySelector(".gone")?.scrollIntoView({ block: "center" });
    return;
  }
  const old = Date.parse(page.as_of) - Date.parse(incident.began);
  state.span = Object.keys(SPANS).find((name) => SPANS[name][0] > 1.1 * old) ?? "26h";
  card.scrollIntoView({ block: "center" });
  card.focus({ preventScroll: true });
}

function drawChart() {
  const page = state.page;
  if (!page) return;
  const options = (of) => Object.entries(of).map(([name, [first, second]]) => [name, typeof first === "string" ? first : second]);
  choice(byId("measure"), "measure", options(MEASURES), state.measure, (chosen) => {
    state.measure = chosen;
    drawChart();
  });
  choice(byId("span"), "span", options(SPANS), state.span, (chosen) => {
    state.span = chosen;
    drawChart();
  });
  const [name, at] = MEASURES[state.measure];
  const scale = state.measure === "sales" ? 10 ** (page.exponent ?? 0) : 1;
  const to = Date.parse(page.as_of);
  const current = page.totals[state.measure]?.["1m"];
  const points = state.history.map((point) => [point[0], point[at] === null || point[at] === undefined ? null : point[at] / scale]);
  if (current?.value !== undefined && (points.at(-1)?.[0] ?? 0) < to) points.push([to, Number(current.value) / scale]);
  // Ten minutes of history fill the width; they are not a dot at the edge of an hour.
  const from = Math.max(to - SPANS[state.span][0], Math.min(points[0]?.[0] ?? to, to - SHORTEST_MS));
  const usual = (page.spark ?? []).map((point, place) => [page.spark_ms[place], ...point.slice(1)]);
  const band = state.measure === "orders" ? usual.filter((row) => row.length > 1) : [];
  const unit = state.measure === "sales" ? ` ${page.currency ?? "minor units"}` : "";
  setText(byId("chart-title"), `${name} a minute${unit && `,${unit}`}`);
  const text = (value) => (state.measure === "sales" ? compact(value) : count(String(Math.round(value))));
  const latest = current?.value === undefined ? "unknown" : state.measure === "sales" ? moneyExact(current.value, page.exponent ?? 0) : count(current.value);
  const box = byId("chart");
  box.replaceChildren(
    lineChart({
      points,
      band,
      marks: spans(page),
      width: Math.max(box.clientWidth, 280),
      height: CHART_HEIGHT,
      from,
      to,
      label: `${name} a minute over ${SPANS[state.span][1]}, ${points.length} points, last ${latest}${unit}`,
      yText: text,
      xText: (instant) => minute(instant, page.time_zone),
      onPoint: (point) => setText(byId("readout"), point === null ? "" : `${dayAndMinute(point[0], page.time_zone)}: ${point[1] === null ? "–" : text(point[1])}${unit}`),
    }),
  );
}

new ResizeObserver(drawChart).observe(byId("chart"));
setInterval(tick, TICK_MS);
listen();
