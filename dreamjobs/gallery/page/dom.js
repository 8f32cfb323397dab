// Elements and words. Text always goes in as text: there is no innerHTML in this page.
"use strict";

// el("a.tile", { href: "#" }, "text", child): attributes by name, `on...` as listeners, null and false left out.
function el(what, attributes = {}, ...children) {
  const [tag, ...classes] = what.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  setAll(node, attributes);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

function setAll(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
}

function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  setAll(node, attributes);
  node.append(...children);
  return node;
}

const byId = (id) => document.getElementById(id);

// A labelled <select>; options are [value, text] pairs.
function select(label, options, value, onchange) {
  const box = el("select", { "aria-label": label, onchange: (event) => onchange(event.target.value) });
  box.append(...options.map(([option, shown]) => el("option", { value: option, selected: option === value }, shown)));
  return el("label.field", {}, el("span", { "aria-hidden": "true" }, label), box);
}

// Said to screen readers, and shown nowhere.
function say(words) {
  byId("said").textContent = words;
}

const counted = new Intl.NumberFormat("en");
const brief = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });

const words = {
  count: (number) => counted.format(number),
  number: (number) => (number === null ? "-" : brief.format(number)),
  counted: (number, one, many = `${one}s`) => `${counted.format(number)} ${number === 1 ? one : many}`,
  bytes(size) {
    const units = ["B", "kB", "MB", "GB", "TB"];
    let power = 0;
    while (size >= 1000 && power < units.length - 1) { size /= 1000; power += 1; }
    return `${size < 10 && power ? size.toFixed(1) : Math.round(size)} ${units[power]}`;
  },
  seconds(seconds) {
    if (seconds === null) return "-";
    if (seconds < 60) return `${seconds < 10 ? brief.format(Number(seconds.toFixed(2))) : Math.round(seconds)} s`;
    const minutes = Math.round(seconds / 60);
    return minutes < 60 ? `${minutes} min` : `${counted.format(Math.floor(minutes / 60))} h ${minutes % 60} min`;
  },
  time(seconds) {
    return seconds === null ? "-" : new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
  },
};

// Calls once in the next frame, however often it was asked for in this one.
function oncePerFrame(call) {
  let asked = 0;
  return () => { asked ||= requestAnimationFrame(() => { asked = 0; call(); }); };
}

const wantsLittleMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
