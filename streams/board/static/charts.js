// Lines, bands and bars as SVG, made from numbers. The stylesheet gives the colours.

import { svg } from "./dom.js";

const GAP_MS = 150_000; // without a point for longer, the line is broken, not bridged

export function niceStep(span, ticks) {
  const raw = span / Math.max(ticks, 1);
  const power = 10 ** Math.floor(Math.log10(raw));
  for (const factor of [1, 2, 5, 10]) if (raw <= factor * power) return factor * power;
  return 10 * power;
}

function path(points, x, y) {
  let text = "";
  let last = null;
  for (const [at, value] of points) {
    if (value === null || value === undefined) {
      last = null;
      continue;
    }
    const joined = last !== null && at - last <= GAP_MS;
    text += `${joined ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    last = at;
  }
  return text;
}

// The area between lower and upper of rows [ms, lower, upper], broken where the line is.
function area(rows, x, y) {
  let text = "";
  let run = [];
  const close = () => {
    if (run.length > 1) {
      const there = run.map(([at, , upper]) => `${x(at).toFixed(1)} ${y(upper).toFixed(1)}`);
      const back = run.map(([at, lower]) => `${x(at).toFixed(1)} ${y(lower).toFixed(1)}`).reverse();
      text += `M${there.join("L")}L${back.join("L")}Z`;
    }
    run = [];
  };
  for (const row of rows) {
    if (run.length && row[0] - run.at(-1)[0] > GAP_MS) close();
    run.push(row);
  }
  close();
  return text;
}

// A small line of one member: `times`, and `points` of [value] or [value, expected, lower, upper].
export function sparkline(times, points, label, width = 112, height = 24) {
  const box = svg("svg", { class: "sparkline", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
  const rows = points.map((point, at) => [times[at], ...point]).filter((row) => row[1] !== null);
  if (rows.length < 2) return box;
  const from = times[0];
  const span = Math.max(times[times.length - 1] - from, 1);
  const top = Math.max(...rows.map((row) => Math.max(row[1], row[4] ?? 0)), 1);
  const x = (at) => 1 + ((at - from) / span) * (width - 5);
  const y = (value) => height - 2 - (value / top) * (height - 5);
  const banded = rows.filter((row) => row.length > 2);
  box.append(svg("line", { class: "grid", x1: 1, x2: width - 4, y1: height - 1.5, y2: height - 1.5 }));
  if (banded.length > 1) box.append(svg("path", { class: "band", d: area(banded.map((row) => [row[0], row[3], row[4]]), x, y) }));
  const last = rows[rows.length - 1];
  box.append(
    svg("path", { class: "line", d: path(rows, x, y) }),
    svg("circle", { class: "end", cx: x(last[0]).toFixed(1), cy: y(last[1]).toFixed(1), r: 1.8 }),
  );
  return box;
}

// A bar of the value; with an expectation, also its band and a mark at the expected value.
export function bullet(value, cell, top, width = 120, height = 14) {
  const x = (number) => Math.max(0, Math.min(1, number / top)) * width;
  const box = svg("svg", { class: "bullet", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", height, "aria-hidden": "true" });
  const known = cell && cell.expected !== undefined;
  let tone = "";
  if (known) {
    if (value > cell.upper) tone = " above";
    else if (value < cell.lower) tone = " below";
    box.append(svg("rect", { class: "range", x: x(cell.lower), y: 0, width: Math.max(x(cell.upper) - x(cell.lower), 1), height }));
  }
  box.append(svg("rect", { class: `amount${tone}`, x: 0, y: 3, width: Math.max(x(value), value > 0 ? 1 : 0), height: height - 6 }));
  if (known) box.append(svg("rect", { class: "mark", x: x(cell.expected) - 0.75, y: 0, width: 1.5, height }));
  return box;
}

// A part of a whole; the text beside it says the number.
export function bar(part, width = 64, height = 6) {
  return svg(
    "svg",
    { class: "part", viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" },
    svg("rect", { class: "whole", x: 0, y: 0, width, height, rx: 3 }),
    svg("rect", { class: "done", x: 0, y: 0, width: Math.max(part * width, 1), height, rx: 3 }),
  );
}

// Shares side by side, in the colours of the members.
export function stacked(parts, label, height = 16) {
  const box = svg("svg", { class: "stacked", viewBox: `0 0 1000 ${height}`, preserveAspectRatio: "none", height, role: "img", "aria-label": label });
  let at = 0;
  for (const [share, tone] of parts) {
    box.append(svg("rect", { class: `tone-${tone}`, x: at * 1000, y: 0, width: Math.max(share * 1000 - 2, 0), height }));
    at += share;
  }
  return box;
}

// A bar that extends right or left from the middle.
export function diverging(difference, top, width = 80, height = 10) {
  const half = width / 2;
  const length = top > 0 ? (Math.abs(difference) / top) * half : 0;
  return svg(
    "svg",
    { class: "diverging", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", height, "aria-hidden": "true" },
    svg("rect", { class: difference < 0 ? "amount below" : "amount above", x: difference < 0 ? half - length : half, y: 0, width: length, height }),
    svg("rect", { class: "axis", x: half - 0.5, y: 0, width: 1, height }),
  );
}

// The large line over time. `points`: [ms, value]; `band`: [ms, expected, lower, upper].
export function lineChart({ points, band, marks, width, height, from, to, label, yText, xText, onPoint }) {
  const margin = { left: 8, right: 52, top: 10, bottom: 22 };
  const inner = { width: width - margin.left - margin.right, height: height - margin.top - margin.bottom };
  const box = svg("svg", { class: "lines", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label });
  const shown = points.filter(([at]) => at >= from && at <= to);
  const usual = band.filter(([at]) => at >= from && at <= to);
  const most = Math.max(...shown.map(([, value]) => value ?? 0), ...usual.map((row) => row[3]), 1);
  const step = niceStep(most, 4);
  const top = Math.ceil(most / step) * step;
  const x = (at) => margin.left + ((at - from) / (to - from)) * inner.width;
  const y = (value) => margin.top + inner.height - (value / top) * inner.height;
  for (let value = 0; value <= top; value += step) {
    const line = y(value).toFixed(1);
    box.append(
      svg("line", { class: value === 0 ? "grid zero" : "grid", x1: margin.left, x2: margin.left + inner.width, y1: line, y2: line }),
      svg("text", { class: "tick", x: width - margin.right + 6, y: Number(line) + 3.5 }, yText(value)),
    );
  }
  for (const at of timeTicks(from, to, Math.max(2, Math.floor(inner.width / 96)))) {
    if (x(at) < 20 || x(at) > width - 20) continue; // the text would be cut off
    box.append(svg("text", { class: "tick middle", x: x(at).toFixed(1), y: height - 6 }, xText(at)));
  }
  for (const mark of marks) {
    const [start, end] = [Math.max(mark.from, from), Math.min(mark.to ?? to, to)];
    if (end < from || start > to) continue;
    const title = svg("title");
    title.append(mark.text);
    const flag = svg("rect", { class: `flag ${mark.kind} ${mark.way}`, x: x(start).toFixed(1), y: margin.top - 6, width: Math.max(x(end) - x(start), 3).toFixed(1), height: 4 }, title);
    box.append(flag);
    if (!mark.whole) continue; // the line is not that of the member
    const span = svg("rect", { class: `span ${mark.kind} ${mark.way}${mark.to === null ? " open" : ""}`, x: x(start).toFixed(1), y: margin.top, width: Math.max(x(end) - x(start), 2).toFixed(1), height: inner.height });
    box.append(span);
  }
  if (usual.length > 1) {
    box.append(
      svg("path", { class: "band", d: area(usual.map((row) => [row[0], row[2], row[3]]), x, y) }),
      svg("path", { class: "expected", d: path(usual, x, y) }),
    );
  }
  box.append(svg("path", { class: "line", d: path(shown, x, y) }));
  const last = shown.filter(([, value]) => value !== null).at(-1);
  if (last) box.append(svg("circle", { class: "end", cx: x(last[0]).toFixed(1), cy: y(last[1]).toFixed(1), r: 3 }));
  const cursor = svg("line", { class: "cursor", x1: 0, x2: 0, y1: margin.top, y2: margin.top + inner.height, visibility: "hidden" });
  box.append(cursor);
  box.addEventListener("pointermove", (event) => {
    const bounds = box.getBoundingClientRect();
    const at = from + (((event.clientX - bounds.left) / bounds.width) * width - margin.left) / inner.width * (to - from);
    const near = shown.reduce((best, point) => (best && Math.abs(best[0] - at) <= Math.abs(point[0] - at) ? best : point), null);
    if (!near) return;
    for (const name of ["x1", "x2"]) cursor.setAttribute(name, x(near[0]));
    cursor.setAttribute("visibility", "visible");
    onPoint(near);
  });
  box.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    onPoint(null);
  });
  return box;
}

const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360, 720].map((minutes) => minutes * 60_000);

function timeTicks(from, to, most) {
  const step = TIME_STEPS.find((each) => (to - from) / each <= most) ?? TIME_STEPS.at(-1);
  const ticks = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) ticks.push(at);
  return ticks;
}
