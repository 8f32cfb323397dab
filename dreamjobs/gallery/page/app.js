// The page: from the address to what is shown. Read `rows.js` and `place.js` first, then the views.
"use strict";

(() => {
  let shownKey = null; // the filters that the wall's list was made for
  let list = new Uint32Array();
  const lastOf = new Map(); // each tab leads back to how its view was left

  function tabs(view) {
    const failures = rows.failed.length ? ` ${words.count(rows.failed.length)}` : "";
    const names = { wall: "Wall", matrix: "Matrix", failed: `Failed${failures}`, run: "Run" };
    if (!byId("tabs").firstChild) byId("tabs").append(...place.views.map((name) => el("a", { "data-view": name }, names[name])));
    for (const tab of byId("tabs").children) {
      tab.href = lastOf.get(tab.dataset.view) ?? `#/${tab.dataset.view}`;
      if (tab.dataset.view === view) tab.setAttribute("aria-current", "page"); else tab.removeAttribute("aria-current");
    }
  }

  function show() {
    const { view, params } = place.read();
    const id = params.get("p");
    params.delete("p");
    lastOf.set(view, place.href(view, params));
    tabs(view);
    for (const name of place.views) byId(name).hidden = name !== view;
    if (view === "wall") showWall(params);
    else lists[view]?.(params);
    if (view === "matrix") matrix.show(params);
    picture.show(id === null ? -1 : rows.find(id) ?? -1, () => (view === "matrix" ? matrix.order() : list));
    document.title = `${id !== null && rows.find(id) !== undefined ? `${rows.file(rows.find(id))} - ` : ""}${rows.title} - dreamjobs`;
  }

  function showWall(params) {
    const key = params.toString();
    if (key !== shownKey) list = filters.rows(params);
    filters.show(params, list.length);
    wall.show(list);
    shownKey = key;
  }

  byId("title").textContent = rows.title;
  wall.start();
  matrix.start();
  picture.start();
  place.listen(show);
  show();
})();
