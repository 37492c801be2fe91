// Elements and numbers of the page.

// A number as text with a true minus sign. digits: number of significant digits, or 0 for an integer.
export function number(value, digits = 0) {
  const text = digits ? value.toPrecision(digits) : String(Math.round(value));
  return text.replace("e+", "e").replaceAll("-", "−");
}

// A number with its noun in the singular or plural.
export function counted(n, noun) {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}

export function make(tag, name, parent, text = "") {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text) element.textContent = text;
  parent?.append(element);
  return element;
}

// Text with `code` in backticks as elements.
export function rich(element, text) {
  element.replaceChildren(...text.split("`").map((part, i) => (i % 2 ? make("code", "", null, part) : part)));
}
