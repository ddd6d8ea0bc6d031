// Elements made from data. Text is inserted as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

export function byId(id) {
  return document.getElementById(id);
}

export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value);
  }
  made.append(...children); // strings become text nodes
  return made;
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (value === undefined || value === null || value === false) node.removeAttribute(name);
  else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

// Keeps one child of `parent` for each item: made once for each key, then updated and put in order. So
// a selection, a focus and a hover survive an update, and nothing flickers.
export function keyed(parent, items, keyOf, make, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let node = known.get(key);
    known.delete(key);
    if (node === undefined) {
      node = make(item);
      node.dataset.key = key;
    }
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
    update(node, item);
  }
  for (const node of known.values()) node.remove();
}

// A few buttons of which one is pressed. They are radio buttons, which arrow keys and screen readers know.
export function choice(fieldset, name, options, chosen, onChoose) {
  const current = fieldset.querySelectorAll("label");
  if (current.length === options.length && [...current].every((label, at) => label.dataset.value === options[at][0])) {
    for (const input of fieldset.querySelectorAll("input")) {
      const [, , disabled] = options.find(([value]) => value === input.value);
      input.checked = input.value === chosen;
      input.disabled = Boolean(disabled);
    }
    return;
  }
  for (const label of current) label.remove();
  for (const [value, text, disabled] of options) {
    const input = element("input", { type: "radio", name, value, class: "unseen" });
    input.checked = value === chosen;
    input.disabled = Boolean(disabled);
    input.addEventListener("change", () => onChoose(value));
    fieldset.append(element("label", { "data-value": value }, input, element("span", {}, text)));
  }
}
