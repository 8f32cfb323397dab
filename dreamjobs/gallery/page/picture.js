// One picture: large, beside its photograph, with its recipe. A dialog over the view that it was opened from.
"use strict";

const picture = (() => {
  const LARGEST = 3; // times that a small picture is enlarged to fill the window
  let at = -1; // the picture shown, -1 for none
  let order = () => [];
  let split = 30; // how much of the photograph is uncovered, in percent; kept from one picture to the next
  let zoomed = false;
  let parts = {};
  const dialog = () => byId("picture");

  function show(i, list) {
    order = list;
    if (i === at) return;
    if (i === undefined || i < 0) { close(); return; }
    at = i;
    zoomed = false;
    dialog().replaceChildren(stage(i), panel(i));
    if (!dialog().open) dialog().showModal();
    parts.frame.parentElement.focus({ preventScroll: true });
    fit();
    say(`${rows.file(i)}, ${rows.settings(i)}`);
  }

  function close() {
    if (at < 0) return;
    const last = at;
    at = -1;
    dialog().close();
    dialog().replaceChildren();
    (place.read().view === "matrix" ? matrix : wall).focusRow(last);
  }

  const leave = () => place.leave({ p: null });

  // ---- the stage ---------------------------------------------------------------------------------------------

  function stage(i) {
    const before = hasBefore(i) ? el("img.before", { src: rows.before(i), alt: `The photograph ${rows.file(i)}`, draggable: "false", onerror: dropBefore }) : null;
    const range = before ? el("input", { type: "range", min: 0, max: 100, value: split, "aria-label": "How much of the photograph is uncovered", oninput: () => setSplit(Number(range.value)) }) : null;
    const handle = before ? el("div.handle", { "aria-hidden": "true" }) : null;
    const frame = el("div.frame", {}, shown(i), before, handle);
    if (rows.thumb(i)) frame.style.backgroundImage = `url("${rows.thumb(i)}")`;
    const compare = before ? el("label.compare", {}, el("span", {}, "dream"), range, el("span", {}, "photograph")) : null;
    const zoom = rows.video[i] ? null : el("button", { type: "button", "aria-pressed": "false", title: "Z", onclick: toggleZoom }, "1:1");
    parts = { frame, before, range, handle, compare, zoom };
    setSplit(split);
    const view = el("div.view", { tabindex: "-1" }, frame);
    drag(view);
    return el("div.stage", {}, view,
      el("button.round.close", { type: "button", "aria-label": "Close", onclick: leave }, "×"),
      step(-1, "Previous picture", "‹"), step(1, "Next picture", "›"),
      el("div.tools", {}, compare, zoom));
  }

  // The photograph can be laid upon the dream where that began from it and has its shape.
  function hasBefore(i) {
    const start = rows.byName.get("start");
    return Boolean(rows.before(i)) && !rows.video[i] && !(start && ["noise", "natural"].includes(rows.valueAt(start, i)));
  }

  function dropBefore() {
    for (const name of ["before", "handle", "compare"]) parts[name]?.remove();
    parts.before = null;
  }

  function shown(i) {
    if (rows.output[i].endsWith(".mp4")) {
      const video = el("video", { src: rows.link(i), poster: rows.thumb(i) || null, controls: true, loop: true, playsinline: true, "aria-label": rows.alt(i) });
      video.muted = true; // without which no browser starts it by itself
      video.autoplay = !wantsLittleMotion();
      return video;
    }
    if (rows.video[i] && wantsLittleMotion() && rows.thumb(i)) return still(i);
    const image = el("img", { src: rows.link(i), alt: rows.alt(i), draggable: "false", onerror: () => image.replaceWith(instead(i)), onload: () => checkShape(image) });
    return image;
  }

  // An animation cannot be stopped once it is shown, so it is not shown before it is asked for.
  function still(i) {
    const image = el("img", { src: rows.thumb(i), alt: rows.alt(i) });
    const button = el("button.play", { type: "button", onclick: () => { image.src = rows.link(i); button.remove(); } }, "▶ Play");
    return el("div.still", {}, image, button);
  }

  // Of what no browser shows (TIFF, HEIC), or what is no longer there, the thumbnail.
  function instead(i) {
    const kind = rows.output[i].split(".").pop();
    const note = el("p.note", {}, `The browser cannot show this ${kind} file${rows.thumb(i) ? "; this is its thumbnail" : ""}.`);
    dropBefore();
    return el("div.instead", {}, rows.thumb(i) ? el("img", { src: rows.thumb(i), alt: rows.alt(i) }) : null, note);
  }

  function checkShape(image) {
    const { before } = parts;
    const differs = () => Math.abs(before.naturalWidth / before.naturalHeight / (image.naturalWidth / image.naturalHeight) - 1) > 0.03;
    if (!before) return;
    if (before.complete && before.naturalWidth) { if (differs()) dropBefore(); } else before.addEventListener("load", () => { if (differs()) dropBefore(); }, { once: true });
  }

  function step(by, label, sign) {
    const to = neighbour(by);
    return el(`button.round.${by < 0 ? "previous" : "next"}`, { type: "button", "aria-label": label, disabled: to === undefined, onclick: () => move(by) }, sign);
  }

  function neighbour(by) {
    const list = order();
    const here = list.indexOf(at);
    return here < 0 ? undefined : list[here + by];
  }

  function move(by) {
    const to = neighbour(by);
    if (to !== undefined) place.go({ p: rows.id[to] }, { replace: true });
  }

  function setSplit(percent) {
    split = Math.min(100, Math.max(0, percent));
    parts.frame.style.setProperty("--split", `${split}%`);
    if (parts.range) parts.range.value = split;
  }

  // ---- size --------------------------------------------------------------------------------------------------

  // Whole in the window, or one pixel of the picture to one of the screen.
  function fit() {
    if (at < 0) return;
    const view = parts.frame.parentElement;
    const [w, h] = [rows.width[at] || 1, rows.height[at] || 1];
    const whole = Math.min(view.clientWidth / w, view.clientHeight / h, LARGEST);
    const scale = zoomed ? 1 / devicePixelRatio : whole;
    const middle = [(view.scrollLeft + view.clientWidth / 2) / view.scrollWidth, (view.scrollTop + view.clientHeight / 2) / view.scrollHeight];
    parts.frame.style.width = `${w * scale}px`;
    parts.frame.style.height = `${h * scale}px`;
    view.classList.toggle("zoomed", zoomed);
    parts.zoom?.setAttribute("aria-pressed", String(zoomed));
    view.scrollTo(middle[0] * view.scrollWidth - view.clientWidth / 2, middle[1] * view.scrollHeight - view.clientHeight / 2);
  }

  function toggleZoom() {
    if (!parts.zoom) return;
    zoomed = !zoomed;
    fit();
  }

  // Dragging moves the divider; where the picture is larger than its place, and away from the divider, the picture.
  function drag(view) {
    let from = null;
    view.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || event.target.closest("button, video")) return;
      const box = parts.frame.getBoundingClientRect();
      const near = Math.abs(event.clientX - box.left - (box.width * split) / 100) < 24;
      if (!zoomed && !parts.before) return;
      if (zoomed && event.pointerType !== "mouse" && !near) return; // a finger scrolls by itself
      from = { pan: zoomed && !(parts.before && near), x: event.clientX, y: event.clientY, left: view.scrollLeft, top: view.scrollTop };
      view.setPointerCapture(event.pointerId);
      if (!from.pan) slide(event);
      event.preventDefault();
    });
    view.addEventListener("pointermove", (event) => {
      if (!from) return;
      if (from.pan) view.scrollTo(from.left + from.x - event.clientX, from.top + from.y - event.clientY);
      else slide(event);
    });
    for (const end of ["pointerup", "pointercancel"]) view.addEventListener(end, () => { from = null; });
    view.addEventListener("dblclick", toggleZoom);
  }

  function slide(event) {
    const box = parts.frame.getBoundingClientRect();
    setSplit(((event.clientX - box.left) / box.width) * 100);
  }

  // ---- the panel ---------------------------------------------------------------------------------------------

  function panel(i) {
    const changed = recipe.changed(i);
    const all = rows.fields.filter((field) => !field.meta);
    const meta = rows.fields.filter((field) => field.meta);
    const facts = el("dl.facts");
    const curve = el("div.curve");
    loadDetails(i).then((detail) => { if (at === i) { curve.append(...drawing(detail)); showFacts(facts, i, detail); } },
      () => { if (at === i) { curve.append(el("p.note", {}, "Details could not be loaded.")); showFacts(facts, i, null); } });
    return el("aside.panel", {},
      el("h2", { id: "picture-name", title: rows.name(i) }, rows.file(i)),
      el("p.settings", {}, rows.text(rows.valueAt(rows.byName.get("objective"), i))),
      el("div.actions", {}, copyButton("Copy as command", () => recipe.command(i)), copyButton("Copy as grid", () => recipe.grid(i)),
        el("a.button", { href: rows.link(i), target: "_blank", rel: "noopener" }, "Open file")),
      curve,
      changed.length ? el("h3", {}, "Differs from the defaults") : null,
      changed.length ? table(changed, i) : null,
      el("details.all", {}, el("summary", {}, `All ${all.length} parameters`), table(all, i)),
      meta.length ? el("h3", {}, "From the manifest") : null,
      meta.length ? table(meta, i) : null,
      facts, siblings(i),
      el("p.keys", {}, key("←"), key("→"), " other pictures ", key("Z"), " 1:1 ", key("B"), " photograph ", key("Esc"), " back"));
  }

  const key = (name) => el("kbd", {}, name);

  function table(fields, i) {
    return el("table.recipe", {}, el("tbody", {}, fields.map((field) => {
      const changed = rows.isChanged(field, i);
      const usual = changed ? el("span.unseen", {}, ` (default ${rows.text(field.default)})`) : null;
      return el("tr", { class: changed ? "changed" : null, title: changed ? `default ${rows.text(field.default)}` : null },
        el("th", { scope: "row" }, field.label), el("td", {}, rows.text(rows.valueAt(field, i)), usual));
    })));
  }

  function showFacts(list, i, detail) {
    const facts = [["Size", `${words.count(rows.width[i])} × ${words.count(rows.height[i])}`]];
    if (detail) {
      facts[0][1] += `, ${words.bytes(detail.size_bytes)}`;
      facts.push(["Photograph", `${words.count(detail.source_width)} × ${words.count(detail.source_height)}`]);
      facts.push(["Dreamed in", `${words.seconds(detail.seconds.dream)} on ${detail.device}`]);
      facts.push(["Attempts", String(detail.attempts)]);
    }
    facts.push(["Finished", words.time(rows.finished[i])]);
    if (detail) facts.push(["Job", rows.id[i]], ["Weights", detail.weights_digest?.slice(0, 16) ?? "-"]);
    list.append(...facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  }

  // Other dreams of the same photograph.
  function siblings(i) {
    const found = [];
    for (let other = 0; other < rows.count && found.length < 24; other += 1) if (other !== i && rows.image[other] === rows.image[i]) found.push(other);
    if (!found.length) return null;
    return el("div.siblings", {}, el("h3", {}, "Of the same photograph"),
      el("div.strip", {}, found.map((other) => el("a", { href: place.changed({ p: rows.id[other] }), title: rows.settings(other), onclick: (event) => { event.preventDefault(); place.go({ p: rows.id[other] }, { replace: true }); } }, wall.face(other, rows.alt(other))))),
      el("p", {}, el("a", { href: place.href("wall", new URLSearchParams({ photograph: rows.name(i) })) }, "All on the wall"), " · ",
        el("a", { href: place.href("matrix", new URLSearchParams({ "at.photograph": rows.name(i) })) }, "As a matrix")));
  }

  function copyButton(label, text) {
    const button = el("button", { type: "button", onclick: async () => {
      button.textContent = (await copy(text())) ? "Copied" : "Not copied";
      say(button.textContent);
      setTimeout(() => { button.textContent = label; }, 1500);
    } }, label);
    return button;
  }

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch { // plain http has no clipboard
      const box = el("textarea.unseen", {}, text);
      dialog().append(box);
      box.select();
      const done = document.execCommand("copy");
      box.remove();
      return done;
    }
  }

  // ---- details: loaded when they are first asked for, as scripts, which is what a page from disk may load -----------

  const VERSION = new URL(document.querySelector('script[src^="data/run.js"]').src).search;
  const loading = new Map();

  function loadDetails(i) {
    const number = rows.detailFile(i);
    if (!loading.has(number)) {
      loading.set(number, new Promise((resolve, reject) => {
        document.head.append(el("script", { src: `data/details-${number}.js${VERSION}`, onload: resolve, onerror: reject }));
      }));
    }
    return loading.get(number).then(() => dreamjobs.detailed.get(number)[rows.detailPlace(i)]);
  }

  // The objective step by step. It falls as each octave begins: a larger picture has new pixels to fill.
  function drawing(detail) {
    const { curve, curveSteps, curveStep } = detail;
    if (curve.length < 2) return [];
    const [w, h, pad] = [300, 84, 4];
    const known = curve.filter((value) => value !== null);
    const [low, high] = [Math.min(...known), Math.max(...known)];
    const x = (step) => pad + ((w - 2 * pad) * Math.min(step, curveSteps - 1)) / (curveSteps - 1);
    const y = (value) => h - pad - ((h - 2 * pad) * (value - low)) / (high - low || 1);
    const points = curve.map((value, k) => [x(k * curveStep), value]).filter(([, value]) => value !== null).map(([px, value]) => `${px.toFixed(1)},${y(value).toFixed(1)}`);
    const title = `The objective over ${curveSteps} steps: from ${words.number(curve[0])} to ${words.number(curve.at(-1))}`;
    const steps = Number(rows.valueAt(rows.byName.get("steps"), at));
    const octaves = steps && curveSteps % steps === 0 ? curveSteps / steps : 1;
    const marks = Array.from({ length: octaves - 1 }, (_, k) => svg("line", { x1: x((k + 1) * steps), x2: x((k + 1) * steps), y1: 0, y2: h, class: "mark" }));
    const drawn = svg("svg", { viewBox: `0 0 ${w} ${h}`, role: "img", "aria-label": title }, svg("title", {}, title), ...marks,
      svg("polygon", { points: `${points[0].split(",")[0]},${h} ${points.join(" ")} ${points.at(-1).split(",")[0]},${h}`, class: "under" }),
      svg("polyline", { points: points.join(" ") }));
    const rise = rows.rise[at];
    const share = rise === null ? "" : `, ${rise >= 0 ? "+" : ""}${words.number(rise * 100)}%`;
    return [drawn, el("p", {}, `Objective ${words.number(curve[0])} → ${words.number(curve.at(-1))}${share}; ${words.counted(curveSteps, "step")}`)];
  }

  // ---- the keyboard ------------------------------------------------------------------------------------------

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea, video")) return;
    const act = {
      ArrowLeft: () => move(-1), ArrowRight: () => move(1),
      z: toggleZoom, b: () => { if (parts.before) setSplit(split < 50 ? 100 : 0); },
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act || (zoomed && event.key.startsWith("Arrow") && event.target.closest(".view.zoomed") && event.shiftKey)) return;
    event.preventDefault();
    act();
  }

  function start() {
    dialog().addEventListener("keydown", onKey);
    dialog().addEventListener("cancel", (event) => { event.preventDefault(); leave(); }); // the Escape key
    addEventListener("resize", oncePerFrame(fit));
  }

  return { show, start };
})();
