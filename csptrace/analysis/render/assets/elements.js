// Elements from data, and numbers in words. Texts only ever become text nodes or attributes.

const DATA = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

// h("div.card", { role: "x", onclick() {} }, "text", element, …): an element with children.
function h(selector, ...children) {
  const [tag, ...classes] = selector.split(".");
  const element = document.createElement(tag);
  if (classes.length) element.className = classes.join(" ");
  return fill(element, children);
}

function svg(tag, ...children) {
  return fill(document.createElementNS(SVG, tag), children);
}

function fill(element, children) {
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    if (child instanceof Node) element.append(child);
    else if (typeof child === "object") {
      for (const [name, value] of Object.entries(child)) {
        if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
        else if (name === "css") for (const [key, to] of Object.entries(value)) element.style.setProperty(key, to);
        else if (value === true) element.setAttribute(name, "");
        else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
      }
    } else element.append(String(child));
  }
  return element;
}

const ICONS = {
  key: "M9 15.5a4 4 0 1 1 0-7 4 4 0 0 1 3.7 2.5H21v3h-2v2.5h-3V14h-3.3A4 4 0 0 1 9 15.5ZM7 12h.01",
  search: "m20 20-4.3-4.3M17.5 11a6.5 6.5 0 1 1-13 0 6.5 6.5 0 0 1 13 0Z",
  sun: "M12 3v2M12 19v2M3 12h2M19 12h2M5.6 5.6 7 7M17 17l1.4 1.4M5.6 18.4 7 17M17 7l1.4-1.4M16 12a4 4 0 1 1-8 0 4 4 0 0 1 8 0Z",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4 8.5 8.5 0 1 0 20 14.5Z",
  right: "m9 5 7 7-7 7",
};

function icon(name) {
  return svg("svg", { viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": 2, "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true" }, svg("path", { d: ICONS[name] }));
}

const number = (value) => value.toLocaleString("en");
const plural = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;
const signed = (value) => (value > 0 ? `+${number(value)}` : number(value));

function duration(nanoseconds) {
  if (nanoseconds < 0) return "unknown";
  const units = [[86400e9, "d"], [3600e9, "h"], [60e9, "min"]];
  for (let index = 0; index < units.length; index += 1) {
    const [size, unit] = units[index];
    if (nanoseconds < size) continue;
    const [smaller, name] = units[index + 1] || [1e9, "s"];
    const part = Math.floor((nanoseconds % size) / smaller);
    return `${number(Math.floor(nanoseconds / size))} ${unit}${part ? ` ${part} ${name}` : ""}`;
  }
  for (const [size, unit] of [[1e9, "s"], [1e6, "ms"], [1e3, "µs"]]) {
    if (nanoseconds >= size) return `${Number((nanoseconds / size).toPrecision(3))} ${unit}`;
  }
  return `${nanoseconds} ns`;
}

function moment(milliseconds) {
  if (milliseconds <= 0 || milliseconds > 8.64e15) return "unknown";
  return `${new Date(milliseconds).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

const SEVERITIES = { error: 0, warning: 1, info: 2 };
const NOUNS = { error: "error", warning: "warning", info: "note" };
const known = (name, table, other) => (Object.hasOwn(table, name) ? name : other);
const severityOf = (group) => known(group.severity, SEVERITIES, "info");

const placeOf = (frame) => `${DATA.files[frame[0]][0]}:${frame[1]}`;
const pathOf = (frame) => `${DATA.files[frame[0]][1]}:${frame[1]}`;

// Two or more buttons of which one is pressed; `chosen(value)` is called on a change.
function segmented(label, choices, current, chosen) {
  const buttons = choices.map(([value, text]) => h("button", {
    type: "button", "aria-pressed": String(value === current),
    onclick(event) {
      for (const button of buttons) button.setAttribute("aria-pressed", String(button === event.currentTarget));
      chosen(value);
    },
  }, text));
  return h("div.segmented", { role: "group", "aria-label": label }, buttons);
}
