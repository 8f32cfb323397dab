// The matrix: any two of the fields that vary as rows and columns, the others at one value each.
// Cells stand at fixed places, and only those near the window are in the page.
"use strict";

const matrix = (() => {
  const HEAD = 40; // the height of the columns' names, as style.css has it
  const OVER = 2;
  const grid = () => byId("grid");

  let now = null; // { y, x, cells: "yi xi" -> [pictures], failed: Set, ys, xs, w, h, side }
  let shownFor = null; // the parameters that it was made for
  const drawn = new Map();

  // ---- what is in it -----------------------------------------------------------------------------------------

  // The axes: as asked, else objective by octaves, else what varies, photographs last.
  function axes(params) {
    const favourites = [rows.byName.get("objective"), rows.byName.get("octaves"), ...rows.varying.slice(rows.images.length > 1 ? 1 : 0), rows.photograph];
    const usable = [...new Set(favourites)].filter((field) => field?.varies);
    const asked = (name) => usable.find((field) => field.name === params.get(name));
    const x = asked("x") ?? usable.find((field) => field !== asked("y") && field !== (asked("y") ? null : usable[0]));
    const y = asked("y") ?? usable.find((field) => field !== x);
    return { y: y === x ? undefined : y, x };
  }

  // The others at the value asked for, or else where the first picture stands that agrees with those.
  function fixed(params, { y, x }) {
    const others = rows.varying.filter((field) => field !== y && field !== x);
    const asked = new Map();
    for (const field of others) {
      const v = field.values.findIndex((value) => rows.text(value) === params.get(`at.${field.name}`));
      if (v >= 0) asked.set(field, v);
    }
    let like = 0;
    while (like < rows.count && ![...asked].every(([field, v]) => field.at[like] === v)) like += 1;
    if (like === rows.count) like = 0;
    return new Map(others.map((field) => [field, asked.get(field) ?? field.at[like] ?? 0]));
  }

  function collect({ y, x }, others) {
    const cells = new Map();
    const pairs = [...others];
    for (let i = 0; i < rows.count; i += 1) {
      if (!pairs.every(([field, v]) => field.at[i] === v)) continue;
      const key = `${y ? y.at[i] : 0} ${x ? x.at[i] : 0}`;
      if (cells.has(key)) cells.get(key).push(i); else cells.set(key, [i]);
    }
    return cells;
  }

  function collectFailed({ y, x }, others) {
    const found = new Set();
    const at = (failure, field) => (field === rows.photograph ? rows.images.indexOf(failure.image) : failure.fields[field.name]);
    for (const failure of rows.failed) {
      if ([...others].every(([field, v]) => at(failure, field) === v)) found.add(`${y ? at(failure, y) : 0} ${x ? at(failure, x) : 0}`);
    }
    return found;
  }

  // Only those values of an axis that occur here: a photograph may have been dreamed with few of the run's layers.
  function used(field, keys, part) {
    if (!field) return [0];
    return [...new Set(keys.map((key) => Number(key.split(" ")[part])))].sort((a, b) => a - b);
  }

  // ---- the bar -----------------------------------------------------------------------------------------------

  function bar(params, { y, x }, others) {
    const options = rows.varying.map((field) => [field.name, field.label]);
    const axis = (label, name, field, other) => select(label, options, field?.name, (value) =>
      place.go(value === other?.name ? { y: x?.name, x: y?.name } : { [name]: value }));
    const parts = [axis("Rows", "y", y, x), el("button.quiet", { type: "button", "aria-label": "Swap rows and columns", onclick: () => place.go({ y: x?.name, x: y?.name }) }, "⇄"), axis("Columns", "x", x, y)];
    for (const [field, v] of others) {
      parts.push(select(field.label, field.texts.map((text, w) => [String(w), text]), String(v), (value) =>
        place.go({ [`at.${field.name}`]: rows.text(field.values[value]) })));
      if (field === rows.photograph) parts.push(...steps(field, v));
    }
    byId("axes").replaceChildren(...parts);
  }

  function steps(field, v) {
    return [["Previous photograph", "‹", v - 1], ["Next photograph", "›", v + 1]].map(([label, sign, w]) =>
      el("button.quiet", { type: "button", "aria-label": label, disabled: !(w in field.values), onclick: () => place.go({ "at.photograph": field.values[w] }, { replace: true }) }, sign));
  }

  // ---- the cells ---------------------------------------------------------------------------------------------

  function show(params) {
    const key = params.toString();
    if (key === shownFor) return draw();
    shownFor = key;
    const both = axes(params);
    if (!both.x && !both.y) return nothing();
    const others = fixed(params, both);
    const focused = document.activeElement?.closest("#axes") ? [...byId("axes").querySelectorAll("select, button")].indexOf(document.activeElement) : -1;
    bar(params, both, others);
    if (focused >= 0) byId("axes").querySelectorAll("select, button")[focused]?.focus();
    const cells = collect(both, others);
    const failed = collectFailed(both, others);
    const keys = [...cells.keys(), ...failed];
    now = { ...both, cells, failed, ys: used(both.y, keys, 0), xs: used(both.x, keys, 1) };
    byId("matrix-count").textContent = `${words.counted(cells.size, "picture")} in ${words.counted(now.ys.length, "row")} and ${words.counted(now.xs.length, "column")}`;
    return build();
  }

  function nothing() {
    byId("axes").replaceChildren();
    grid().replaceChildren(el("p.note.empty", {}, "Nothing varies in this run, so there is no matrix of it."));
    grid().classList.add("plain");
  }

  // The size of a cell: as many columns as fit, each from 110 to 320 pixels wide; as high as the pictures are.
  function build() {
    const room = grid().clientWidth;
    const longest = Math.max(...now.ys.map((v) => name(now.y, v).length), (now.y?.label.length ?? 0) + 2);
    now.side = Math.min(200, Math.max(84, room * 0.2), Math.max(84, longest * 8 + 20));
    now.w = Math.floor(Math.min(320, Math.max(110, (room - now.side - 2) / now.xs.length)));
    const first = now.cells.values().next().value?.[0] ?? 0;
    const ratio = rows.count ? Math.min(1.5, Math.max(0.5, rows.height[first] / rows.width[first] || 1)) : 1;
    now.h = Math.round((now.w - 8) * (now.y === rows.photograph || now.x === rows.photograph ? 0.75 : ratio)) + 8;
    setAll(grid(), { "aria-rowcount": now.ys.length + 1, "aria-colcount": now.xs.length + 1 });
    drawn.clear();
    const canvas = el("div.canvas", { role: "presentation" });
    canvas.style.width = `${now.side + now.xs.length * now.w}px`;
    canvas.style.height = `${HEAD + now.ys.length * now.h}px`;
    canvas.append(el("div.heads", { role: "row", "aria-rowindex": 1 }));
    grid().replaceChildren(canvas);
    grid().scrollTo(0, 0);
    draw();
  }

  const name = (field, v) => (field ? field.texts[v] : "");

  function draw() {
    if (!now) return;
    const box = grid();
    const fromY = Math.max(0, Math.floor((box.scrollTop - HEAD) / now.h) - OVER);
    const toY = Math.min(now.ys.length, Math.ceil((box.scrollTop + box.clientHeight) / now.h) + OVER);
    const fromX = Math.max(0, Math.floor(box.scrollLeft / now.w) - OVER);
    const toX = Math.min(now.xs.length, Math.ceil((box.scrollLeft + box.clientWidth) / now.w) + OVER);
    const range = `${fromX} ${toX}`;
    const canvas = box.firstChild;
    for (const [at, node] of drawn) {
      if (at < fromY || at >= toY || (node.dataset.range !== range && !node.contains(document.activeElement))) { node.remove(); drawn.delete(at); }
    }
    if (canvas.firstChild.dataset.range !== range) heads(canvas.firstChild, fromX, toX, range);
    for (let at = fromY; at < toY; at += 1) {
      if (!drawn.has(at)) { drawn.set(at, line(at, fromX, toX, range)); canvas.append(drawn.get(at)); }
    }
    if (!box.querySelector("a[tabindex='0']")) box.querySelector(".cell a")?.setAttribute("tabindex", "0");
  }

  function heads(node, fromX, toX, range) {
    node.dataset.range = range;
    const corner = el("div.corner", { role: "columnheader", "aria-colindex": 1 }, el("span", {}, now.x?.label ?? ""), el("span", {}, now.y?.label ?? ""));
    corner.style.width = `${now.side}px`;
    node.replaceChildren(corner, ...span(fromX, toX).map((at) => {
      const head = el("div.head", { role: "columnheader", "aria-colindex": at + 2, title: name(now.x, now.xs[at]) }, name(now.x, now.xs[at]));
      head.style.left = `${now.side + at * now.w}px`;
      head.style.width = `${now.w}px`;
      return head;
    }));
  }

  function line(at, fromX, toX, range) {
    const node = el("div.line", { role: "row", "aria-rowindex": at + 2, "data-range": range });
    node.style.top = `${HEAD + at * now.h}px`;
    node.style.height = `${now.h}px`;
    const side = el("div.side", { role: "rowheader", "aria-colindex": 1, title: name(now.y, now.ys[at]) }, name(now.y, now.ys[at]));
    side.style.width = `${now.side}px`;
    node.append(side, ...span(fromX, toX).map((column) => cell(at, column)));
    return node;
  }

  function cell(at, column) {
    const key = `${now.ys[at]} ${now.xs[column]}`;
    const found = now.cells.get(key);
    const node = el("div.cell", { role: "gridcell", "aria-colindex": column + 2 });
    node.style.left = `${now.side + column * now.w}px`;
    node.style.width = `${now.w}px`;
    if (found) {
      const i = found.at(-1);
      node.append(el("a", { href: place.changed({ p: rows.id[i] }), "data-y": at, "data-x": column, tabindex: "-1" },
        wall.face(i, rows.alt(i)), found.length > 1 ? el("span.badge", {}, `1 of ${found.length}`) : null));
    } else if (now.failed.has(key)) {
      node.append(el("a.failed", { href: "#/failed", "data-y": at, "data-x": column, tabindex: "-1" }, "failed"));
    }
    return node;
  }

  const span = (from, to) => Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);

  // ---- the keyboard ------------------------------------------------------------------------------------------

  function onKey(event) {
    const link = event.target.closest("a[data-y]");
    const [dy, dx] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key] ?? [];
    if (!link || dy === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    let [y, x] = [Number(link.dataset.y) + dy, Number(link.dataset.x) + dx];
    while (y >= 0 && x >= 0 && y < now.ys.length && x < now.xs.length) {
      if (isThere(y, x)) { focus(y, x); return; }
      y += dy;
      x += dx;
    }
  }

  function isThere(y, x) {
    const key = `${now.ys[y]} ${now.xs[x]}`;
    return now.cells.has(key) || now.failed.has(key);
  }

  function focus(y, x) {
    const box = grid();
    reveal(box, "Top", HEAD, y * now.h, now.h, box.clientHeight);
    reveal(box, "Left", now.side, x * now.w, now.w, box.clientWidth);
    box.querySelector("a[tabindex='0']")?.setAttribute("tabindex", "-1");
    draw();
    const link = box.querySelector(`a[data-y="${y}"][data-x="${x}"]`);
    link?.setAttribute("tabindex", "0");
    link?.focus({ preventScroll: true });
    link?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  // Scroll so far that a cell from `from`, `size` long, is seen beside the names, which take `head`.
  function reveal(box, side, head, from, size, room) {
    if (from < box[`scroll${side}`]) box[`scroll${side}`] = from;
    else if (from + size + head > box[`scroll${side}`] + room) box[`scroll${side}`] = from + size + head - room;
  }

  function start() {
    grid().addEventListener("scroll", oncePerFrame(draw), { passive: true });
    grid().addEventListener("keydown", onKey);
    addEventListener("resize", oncePerFrame(() => { if (now && !byId("matrix").hidden) build(); }));
  }

  // The pictures in reading order, for moving from one to the next.
  function order() {
    if (!now) return [];
    return now.ys.flatMap((y) => now.xs.flatMap((x) => now.cells.get(`${y} ${x}`) ?? []));
  }

  return {
    show, start, order,
    focusRow(i) {
      const link = grid().querySelector(`a[href*="p=${rows.id[i]}"]`);
      if (link) focus(Number(link.dataset.y), Number(link.dataset.x));
    },
  };
})();
