// Which pictures are shown, and in which order: from the address to a list of row numbers; and the bar that changes it.
"use strict";

const filters = (() => {
  const LONGEST_MENU = 300;
  const SORTS = [
    ["photograph", "photograph"],
    ["finished", "newest"],
    ["rise", "objective's rise"],
    ["end", "objective"],
    ["seconds", "time to dream"],
    ["pixels", "size"],
  ];
  const DESCENDING = new Set(["finished", "rise", "end", "seconds", "pixels"]); // what is most comes first
  const sorted = new Map();
  const lowerNames = rows.images.map((name) => name.toLowerCase());

  // ---- from the address to rows ------------------------------------------------------------------------------

  // Each filter as { field, allowed }: allowed[v] is 1 where the field's value number v is shown.
  function active(params) {
    const found = [];
    for (const field of rows.varying) {
      const wanted = new Set(params.getAll(field.name));
      if (wanted.size) found.push({ field, allowed: Uint8Array.from(field.values, (value) => wanted.has(rows.text(value))) });
    }
    const query = (params.get("q") ?? "").trim().toLowerCase();
    if (query) found.push({ field: rows.photograph, allowed: Uint8Array.from(lowerNames, (name) => name.includes(query)), query });
    return found;
  }

  function matches(list, i) {
    for (const { field, allowed } of list) if (!allowed[field.at[i]]) return false;
    return true;
  }

  function chosen(params) {
    const list = active(params);
    const order = inOrder(params.get("sort") ?? "photograph", params.get("order"));
    return list.length ? order.filter((i) => matches(list, i)) : order;
  }

  // All rows in an order, kept: a filter then is one pass over it.
  function inOrder(name, direction) {
    const descends = direction ? direction === "down" : DESCENDING.has(name);
    const key = `${name} ${descends}`;
    if (!sorted.has(key)) sorted.set(key, sort(name, descends));
    return sorted.get(key);
  }

  function sort(name, descends) {
    const order = Uint32Array.from({ length: rows.count }, (_, i) => i);
    const values = sortValues(name);
    if (!values) return descends ? order.reverse() : order;
    const sign = descends ? -1 : 1;
    const keys = Float64Array.from(values, (value) => (value === null || value === undefined ? Infinity : sign * value));
    return order.sort((a, b) => (keys[a] < keys[b] ? -1 : keys[a] > keys[b] ? 1 : a - b)); // what is unknown comes last
  }

  function sortValues(name) {
    if (name === "pixels") return rows.width.map((width, i) => width * rows.height[i]);
    if (["finished", "rise", "end", "seconds"].includes(name)) return rows[name];
    return name === "photograph" ? null : rows.byName.get(name)?.at ?? null; // rows come by photograph
  }

  // ---- the bar -----------------------------------------------------------------------------------------------

  const sortOptions = () => [...SORTS, ...rows.varying.filter((field) => field !== rows.photograph).map((field) => [field.name, field.label])];

  function build(bar) {
    const search = el("input", {
      type: "search", placeholder: "Search photographs", "aria-label": "Search photographs by name",
      oninput: (event) => place.go({ q: event.target.value || null }, { replace: true }),
    });
    const more = el("button.quiet.only-narrow", {
      type: "button", "aria-expanded": "false", "aria-controls": "facets",
      onclick: () => more.setAttribute("aria-expanded", String(bar.classList.toggle("open"))),
    }, "Filters");
    const facets = el("div.facets", { id: "facets" }, rows.varying.map(facet));
    const sorting = select("Sort by", sortOptions(), "photograph", (value) => place.go({ sort: value === "photograph" ? null : value, order: null }));
    const turn = el("button.quiet.turn", { type: "button", onclick: flip }, "↑");
    const clear = el("button.quiet", { type: "button", id: "clear", onclick: () => clearAll() }, "Clear filters");
    bar.append(search, more, facets, clear, el("div.sorting", {}, sorting, turn, wall.sizes()));
    document.addEventListener("click", (event) => closeMenus(event.target));
    return { search, facets, sorting: sorting.querySelector("select"), turn, clear };
  }

  function flip() {
    const { params } = place.read();
    place.go({ order: isDown(params) ? "up" : "down" });
  }

  const isDown = (params) => (params.get("order") ? params.get("order") === "down" : DESCENDING.has(params.get("sort")));

  function clearAll() {
    place.go(Object.fromEntries([["q", null], ...rows.varying.map((field) => [field.name, null])]));
  }

  // A button that opens a list of the field's values, each with how many pictures it would leave.
  function facet(field) {
    const menu = el("div.menu");
    const chosen = el("b");
    const box = el("details.facet", { "data-field": field.name }, el("summary", {}, el("span", {}, field.label), chosen), menu);
    box.addEventListener("toggle", () => {
      if (!box.open) return;
      closeMenus(box);
      fill(field, menu);
      box.classList.toggle("leftward", menu.getBoundingClientRect().right > document.documentElement.clientWidth - 8);
    });
    box.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !box.open) return;
      event.stopPropagation();
      box.open = false;
      box.querySelector("summary").focus();
    });
    return box;
  }

  function closeMenus(except) {
    for (const box of document.querySelectorAll("details.facet[open]")) if (!box.contains(except)) box.open = false;
  }

  function fill(field, menu) {
    const list = el("ul");
    const show = (query) => list.replaceChildren(...options(field, query.toLowerCase()));
    const search = el("input", { type: "search", placeholder: `Search ${words.count(field.values.length)} values`, "aria-label": `Search values of ${field.label}`, oninput: () => show(search.value) });
    menu.replaceChildren(...(field.values.length > 12 ? [search] : []), list);
    show("");
  }

  function options(field, query) {
    const { params } = place.read();
    const wanted = new Set(params.getAll(field.name));
    const counts = countOf(field, params);
    const found = field.values.map((_, v) => v).filter((v) => field.texts[v].toLowerCase().includes(query));
    // What would leave nothing comes last.
    found.sort((a, b) => Number(counts[a] === 0) - Number(counts[b] === 0) || a - b);
    const items = found.slice(0, LONGEST_MENU).map((v) => option(field, v, wanted, counts[v]));
    if (found.length > LONGEST_MENU) items.push(el("li.note", {}, `${words.count(found.length - LONGEST_MENU)} more: search`));
    return items;
  }

  function option(field, v, wanted, count) {
    const value = rows.text(field.values[v]);
    const box = el("input", { type: "checkbox", value, checked: wanted.has(value), onchange: () => toggle(field, value, box.checked) });
    return el("li", {}, el("label", { class: count ? null : "none", title: value }, box, el("span.value", {}, field.texts[v] || "(empty)"), el("span.much", {}, words.count(count))));
  }

  function toggle(field, value, isOn) {
    const others = place.read().params.getAll(field.name).filter((item) => item !== value);
    place.go({ [field.name]: isOn ? [...others, value] : others });
  }

  // How many pictures each value would leave, the field's own filter apart.
  function countOf(field, params) {
    const others = active(params).filter((filter) => filter.field !== field || filter.query);
    const counts = new Uint32Array(field.values.length);
    for (let i = 0; i < rows.count; i += 1) if (matches(others, i)) counts[field.at[i]] += 1;
    return counts;
  }

  let parts = null;

  // Bring the bar to what the address says.
  function show(params, shown) {
    parts ??= build(byId("filters"));
    if (document.activeElement !== parts.search) parts.search.value = params.get("q") ?? "";
    parts.sorting.value = params.get("sort") ?? "photograph";
    const down = isDown(params);
    parts.turn.textContent = down ? "↓" : "↑";
    parts.turn.setAttribute("aria-label", down ? "Descending; turn to ascending" : "Ascending; turn to descending");
    for (const box of parts.facets.children) showFacet(box, params);
    parts.clear.hidden = !active(params).length;
    const all = words.counted(rows.count, "picture");
    byId("count").textContent = shown === rows.count ? all : `${words.count(shown)} of ${all}`;
  }

  function showFacet(box, params) {
    const field = rows.byName.get(box.dataset.field);
    const wanted = params.getAll(field.name);
    const first = field === rows.photograph ? rows.baseName(wanted[0] ?? "") : wanted[0];
    box.querySelector("summary b").textContent = wanted.length > 2 ? `${wanted.length} of ${words.count(field.values.length)}` : wanted.length === 2 && field !== rows.photograph ? wanted.join(", ") : wanted.length ? first + (wanted.length > 1 ? ", …" : "") : "";
    box.classList.toggle("on", wanted.length > 0);
    if (box.open && !box.contains(document.activeElement)) fill(field, box.querySelector(".menu"));
    else if (box.open) refreshCounts(field, box, params);
  }

  // Numbers only: making the list anew would take the focus from the box that was just ticked.
  function refreshCounts(field, box, params) {
    const counts = countOf(field, params);
    const wanted = new Set(params.getAll(field.name));
    const places = new Map(field.values.map((value, v) => [rows.text(value), v]));
    for (const input of box.querySelectorAll("input[type=checkbox]")) {
      input.checked = wanted.has(input.value);
      const count = counts[places.get(input.value)];
      input.parentElement.classList.toggle("none", !count);
      input.parentElement.querySelector(".much").textContent = words.count(count);
    }
  }

  return { rows: chosen, show };
})();
