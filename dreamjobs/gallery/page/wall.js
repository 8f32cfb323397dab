// The wall: pictures in rows of one height, none cut; only what is near the window is in the page.
"use strict";

const wall = (() => {
  const GAP = 12;
  const CAPTION = 44; // as style.css has it
  const HEIGHTS = { small: 110, medium: 180, large: 280 };
  const tiles = () => byId("tiles");

  let order = []; // the pictures' numbers, in the order shown
  let lines = []; // of the layout: { first, top, height }; `first` counts in `order`
  let left = []; // of each picture shown: its place and its width
  let width = [];
  let total = 0;
  let current = 0; // where the keyboard is
  const drawn = new Map();
  let laidOut = ""; // for which width and size
  let size = readSize();

  function readSize() {
    try {
      return localStorage.getItem("dreamjobs-size") in HEIGHTS ? localStorage.getItem("dreamjobs-size") : "medium";
    } catch {
      return "medium"; // storage is refused to some pages from disk
    }
  }

  function sizes() {
    return select("Size", Object.keys(HEIGHTS).map((name) => [name, name]), size, (value) => {
      size = value;
      try { localStorage.setItem("dreamjobs-size", value); } catch { /* it is not kept, then */ }
      layOut();
    });
  }

  function show(list) {
    const isOther = order !== list;
    order = list;
    if (!isOther && laidOut === layoutKey()) return draw();
    if (isOther) {
      current = 0;
      const top = tiles().getBoundingClientRect().top + scrollY - stickyHeight();
      if (scrollY > top) scrollTo(0, Math.max(0, top));
    }
    return layOut();
  }

  const stickyHeight = () => document.querySelector("header.top").offsetHeight + byId("filters").offsetHeight + 40;
  const layoutKey = () => `${tiles().clientWidth} ${size}`;

  // Each line takes pictures until they fill the width at the height wanted, then is scaled to fit it.
  function layOut() {
    const full = tiles().clientWidth;
    const wanted = Math.min(HEIGHTS[size], full * 0.62);
    lines = [];
    left = new Float32Array(order.length);
    width = new Float32Array(order.length);
    let top = 0;
    let first = 0;
    let shapes = 0;
    for (let at = 0; at < order.length; at += 1) {
      shapes += shape(order[at]);
      const gaps = (at - first) * GAP;
      const isLast = at === order.length - 1;
      if (shapes * wanted + gaps < full && !isLast) continue;
      const height = Math.min((full - gaps) / shapes, wanted * (isLast ? 1 : 1.5));
      let x = 0;
      for (let i = first; i <= at; i += 1) {
        left[i] = x;
        width[i] = shape(order[i]) * height;
        x += width[i] + GAP;
      }
      lines.push({ first, top, height });
      top += height + CAPTION + GAP;
      first = at + 1;
      shapes = 0;
    }
    total = top;
    laidOut = layoutKey();
    tiles().style.height = `${total}px`;
    for (const node of drawn.values()) node.remove();
    drawn.clear();
    draw();
  }

  const shape = (i) => Math.min(3, Math.max(0.45, rows.width[i] / rows.height[i] || 1));

  function lineAt(y) {
    let low = 0;
    let high = lines.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (lines[middle].top <= y) low = middle; else high = middle - 1;
    }
    return low;
  }

  const lineOf = (at) => {
    let low = 0;
    let high = lines.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (lines[middle].first <= at) low = middle; else high = middle - 1;
    }
    return low;
  };
  const endOf = (line) => (line + 1 < lines.length ? lines[line + 1].first : order.length);

  function draw() {
    if (!order.length) return nothing();
    const top = -tiles().getBoundingClientRect().top;
    const firstLine = lineAt(top - innerHeight * 0.7);
    const lastLine = lineAt(top + innerHeight * 1.7);
    const from = lines[firstLine].first;
    const to = endOf(lastLine);
    for (const [at, node] of drawn) {
      if ((at < from || at >= to) && !node.contains(document.activeElement)) {
        node.remove();
        drawn.delete(at);
      } else if (at === -1) node.remove();
    }
    drawn.delete(-1);
    let next = tiles().firstChild; // nodes stand in order, for the keyboard and for screen readers
    for (let line = firstLine; line <= lastLine; line += 1) {
      for (let at = lines[line].first; at < endOf(line); at += 1) {
        const node = drawn.get(at);
        if (node) { next = node.nextSibling; continue; }
        const made = tile(at, lines[line]);
        drawn.set(at, made);
        tiles().insertBefore(made, next);
      }
    }
    setCurrent(current);
    return undefined;
  }

  function nothing() {
    drawn.clear();
    const note = el("p.note.empty", {}, rows.count ? "No picture is left by these filters." : "There are no pictures yet.");
    drawn.set(-1, note);
    tiles().replaceChildren(note);
    tiles().style.height = "auto";
  }

  function tile(at, line) {
    const i = order[at];
    const node = el("div.tile", { role: "listitem", "aria-setsize": order.length, "aria-posinset": at + 1 },
      el("a", { href: place.changed({ p: rows.id[i] }), tabindex: "-1", "data-at": at },
        face(i, rows.alt(i)),
        el("span.caption", {}, rows.images.length > 1 ? el("b", { title: rows.name(i) }, rows.file(i)) : null, el("span", {}, rows.settings(i)))));
    node.style.transform = `translate(${left[at]}px, ${line.top}px)`;
    node.style.width = `${width[at]}px`;
    node.style.setProperty("--height", `${line.height}px`);
    return node;
  }

  // A thumbnail, or, where there is none, a plain face that says so.
  function face(i, alt) {
    const badge = rows.video[i] ? el("span.badge", {}, "▶ video") : null;
    const missing = () => el("span.missing", {}, "no preview");
    if (!rows.thumb(i)) return el("span.face", {}, missing(), badge);
    const image = el("img", { src: rows.thumb(i), alt, decoding: "async", draggable: "false", onerror: () => image.replaceWith(missing()) });
    return el("span.face", {}, image, badge);
  }

  // ---- the keyboard: one picture can be tabbed to, the arrows move from there ------------------------------------

  function setCurrent(at) {
    drawn.get(current)?.querySelector("a")?.setAttribute("tabindex", "-1");
    current = Math.min(Math.max(0, at), Math.max(0, order.length - 1));
    const node = drawn.get(current) ?? [...drawn.values()][0];
    node?.querySelector("a")?.setAttribute("tabindex", "0");
  }

  function focus(at) {
    const line = lines[lineOf(at)];
    const head = stickyHeight();
    const y = tiles().getBoundingClientRect().top + scrollY + line.top;
    if (y - head < scrollY) scrollTo(0, y - head);
    else if (y + line.height + CAPTION > scrollY + innerHeight) scrollTo(0, y + line.height + CAPTION + GAP - innerHeight);
    draw();
    setCurrent(at);
    drawn.get(current)?.querySelector("a").focus({ preventScroll: true });
  }

  function moved(key, at) {
    if (key === "ArrowRight") return at + 1;
    if (key === "ArrowLeft") return at - 1;
    if (key === "Home") return 0;
    if (key === "End") return order.length - 1;
    const line = lineOf(at) + (key === "ArrowDown" ? 1 : -1);
    if (line < 0 || line >= lines.length) return at;
    const middle = left[at] + width[at] / 2;
    let best = lines[line].first;
    for (let i = best; i < endOf(line); i += 1) {
      if (Math.abs(left[i] + width[i] / 2 - middle) < Math.abs(left[best] + width[best] / 2 - middle)) best = i;
    }
    return best;
  }

  function onKey(event) {
    const link = event.target.closest("a[data-at]");
    if (!link || event.ctrlKey || event.metaKey || event.altKey) return;
    if (!["ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown", "Home", "End"].includes(event.key)) return;
    event.preventDefault();
    const at = moved(event.key, Number(link.dataset.at));
    if (at >= 0 && at < order.length) focus(at);
  }

  function start() {
    const redraw = oncePerFrame(() => { if (!byId("wall").hidden) draw(); });
    addEventListener("scroll", redraw, { passive: true });
    new ResizeObserver(oncePerFrame(() => { if (!byId("wall").hidden && laidOut !== layoutKey()) layOut(); })).observe(tiles());
    tiles().addEventListener("keydown", onKey);
  }

  return {
    show, start, sizes, face,
    // After the picture's view is closed: on to the picture that was seen last.
    focusRow(i) {
      const at = order.indexOf(i);
      if (at >= 0 && !byId("wall").hidden) focus(at);
    },
  };
})();
