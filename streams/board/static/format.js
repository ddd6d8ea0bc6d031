// Numbers of the contract as text for people. BigInt is used because integers may exceed a double.

const WHOLE = new Intl.NumberFormat("en-GB");
const DASH = "–";

export function isWhole(text) {
  return /^-?\d+$/.test(text);
}

export function count(text) {
  if (text === undefined || text === null) return DASH;
  return isWhole(text) ? WHOLE.format(BigInt(text)) : fixed(Number(text), 1);
}

export function fixed(number, digits) {
  return number.toLocaleString("en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

// A number that is not 0 is never said to be 0.
export function figure(number, digits) {
  for (let tried = digits; tried <= 2; tried += 1) {
    const text = fixed(number, tried);
    if (number === 0 || /[1-9]/.test(text)) return number === 0 ? "0" : text;
  }
  return "less than 0.01";
}

// Minor units -> major units, exact.
export function moneyExact(text, exponent) {
  if (text === undefined || text === null) return DASH;
  if (!isWhole(text)) return fixed(Number(text) / 10 ** exponent, exponent);
  const negative = text.startsWith("-");
  const digits = text.replace("-", "").padStart(exponent + 1, "0");
  const whole = WHOLE.format(BigInt(digits.slice(0, digits.length - exponent)));
  const rest = exponent ? `.${digits.slice(digits.length - exponent)}` : "";
  return `${negative ? "-" : ""}${whole}${rest}`;
}

// An amount in major units, without minor units where thousands are shown anyway.
export function money(text, exponent) {
  const exact = moneyExact(text, exponent);
  const whole = exact.split(".")[0];
  return whole.length > 4 ? whole : exact;
}

export function percent(text) {
  return text === undefined || text === null ? DASH : fixed(Number(text) * 100, 1);
}

export function compact(number) {
  return number.toLocaleString("en-GB", { notation: "compact", maximumSignificantDigits: 3 });
}

export function signed(number) {
  const shown = Math.abs(number) >= 10 ? fixed(Math.abs(number), 0) : fixed(Math.abs(number), 1);
  return `${number < 0 ? "−" : "+"}${shown}`;
}

export function age(ms) {
  const seconds = Math.max(ms, 0) / 1000;
  if (seconds < 120) return `${fixed(seconds, seconds < 10 ? 1 : 0)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} days`;
}

const clocks = new Map();

// A formatter is expensive to make, and a page has few zones.
function clock(zone, options) {
  const key = `${zone}|${Object.keys(options).join()}`;
  if (!clocks.has(key)) {
    clocks.set(key, new Intl.DateTimeFormat("en-GB", { timeZone: zone, hourCycle: "h23", ...options }));
  }
  return clocks.get(key);
}

export function time(instant, zone) {
  return clock(zone, { hour: "2-digit", minute: "2-digit", second: "2-digit" }).format(new Date(instant));
}

export function minute(instant, zone) {
  return clock(zone, { hour: "2-digit", minute: "2-digit" }).format(new Date(instant));
}

export function dayAndMinute(instant, zone) {
  return clock(zone, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" }).format(new Date(instant));
}

export function date(instant, zone) {
  return clock(zone, { day: "numeric", month: "short" }).format(new Date(instant));
}

// Time of day, with its date where it is of another day than the instant that was read before it.
export function moment(instant, before, zone) {
  return date(instant, zone) === date(before, zone) ? minute(instant, zone) : dayAndMinute(instant, zone);
}
