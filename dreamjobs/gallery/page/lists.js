// What failed and why; and the run in numbers.
"use strict";

const lists = (() => {
  const AT_ONCE = 200;

  // ---- failed jobs -------------------------------------------------------------------------------------------

  function failed(params) {
    const type = params.get("type");
    const types = new Map();
    for (const failure of rows.failed) types.set(failure.type, (types.get(failure.type) ?? 0) + 1);
    const found = rows.failed.filter((failure) => !type || failure.type === type);
    byId("failed").replaceChildren(
      el("h2", {}, words.counted(rows.failed.length, "failed job")),
      rows.failed.length ? chips(types, type) : el("p.note", {}, "Nothing failed."),
      ...(found.length ? [failedTable(found)] : []));
  }

  function chips(types, chosen) {
    const chip = (label, type) => el("a.chip", { href: place.changed({ type }, "failed"), "aria-current": type === chosen ? "true" : null }, label);
    const sorted = [...types].sort((a, b) => b[1] - a[1]);
    return el("p.chips", {}, sorted.length > 1 ? chip("all", null) : null, sorted.map(([type, count]) => chip(`${type} ${words.count(count)}`, type)));
  }

  // A photograph that cannot be read fails with every setting: one line for all that failed alike.
  function alike(found) {
    const groups = new Map();
    for (const failure of found) {
      const key = JSON.stringify([failure.image, failure.type, failure.error]);
      if (groups.has(key)) groups.get(key).push(failure); else groups.set(key, [failure]);
    }
    return [...groups.values()];
  }

  function failedTable(found) {
    const groups = alike(found);
    const body = el("tbody");
    const more = el("button", { type: "button", onclick: () => add() });
    const add = () => {
      const from = body.children.length;
      body.append(...groups.slice(from, from + AT_ONCE).map(failedLine));
      const left = groups.length - body.children.length;
      more.hidden = !left;
      more.textContent = `Show ${words.count(Math.min(left, AT_ONCE))} more of ${words.count(left)}`;
    };
    add();
    const head = el("thead", {}, el("tr", {}, ["photograph", "settings", "why"].map((name) => el("th", { scope: "col" }, name))));
    return el("div", {}, el("table.list.failures", {}, head, body), more);
  }

  function failedLine(group) {
    const [{ image, type, error }] = group;
    const attempts = Math.max(...group.map((failure) => failure.attempts ?? 1));
    return el("tr", {},
      el("td", { "data-label": "photograph" }, image), el("td", { "data-label": "settings" }, settingsOf(group)),
      el("td", { "data-label": "why" }, el("b", {}, type), " ", error, attempts > 1 ? ` (${attempts} attempts)` : ""));
  }

  function settingsOf(group) {
    if (group.length === 1) return group[0].settings;
    return el("details", {}, el("summary", {}, words.counted(group.length, "setting")), group.map((failure) => el("div", {}, failure.settings)));
  }

  // ---- the run -----------------------------------------------------------------------------------------------

  function run() {
    const s = rows.summary;
    const cards = [
      ["jobs", words.count(s.jobs)], ["done", words.count(s.done)], ["failed", words.count(s.failed)],
      s.left ? ["left", words.count(s.left)] : null,
      ["photographs", words.count(rows.images.length)],
      ["time at work", words.seconds(s.wall_s), "at least one picture in the making"],
      ["time dreaming", words.seconds(s.compute_s), "summed over pictures"],
      s.pictures_per_hour === null ? null : ["pictures an hour", words.count(Math.round(s.pictures_per_hour))],
      ["megapixel-steps", words.number(s.megapixel_steps), "the pixels of every step"],
      s.compute_s ? ["megapixel-steps a second", words.number(s.megapixel_steps / s.compute_s), "of dreaming"] : null,
      ["pictures take", words.bytes(s.size_bytes)],
      s.begun === null ? null : ["first begun", words.time(s.begun)],
      s.ended === null ? null : ["last finished", words.time(s.ended)],
      s.cost_usd === null ? null : ["cost", dollars(s.cost_usd)],
      s.cost_usd === null || !s.done ? null : ["cost of 1,000 pictures", dollars((s.cost_usd / s.done) * 1000)],
    ];
    const varying = rows.varying.filter((field) => field !== rows.photograph);
    byId("run").replaceChildren(
      el("h2", {}, rows.title),
      el("dl.cards", {}, cards.filter(Boolean).map(([name, value, note]) => el("div", {}, el("dt", {}, name), el("dd", {}, value), note ? el("dd.note", {}, note) : null))),
      ...(varying.length ? [el("h3", {}, "What was varied"), sweeps(varying)] : []),
      el("p.note", {}, el("a", { href: "plain.html" }, "All pictures as a plain list")));
  }

  const dollars = (amount) => new Intl.NumberFormat("en-US", { style: "currency", currency: "USD" }).format(amount);

  function sweeps(fields) {
    return el("table.list", {}, el("tbody", {}, fields.map((field) => el("tr", {},
      el("th", { scope: "row" }, field.label),
      el("td", {}, field.texts.slice(0, 40).map((text, v) => [v ? " " : null, el("a.chip", { href: place.href("wall", new URLSearchParams([[field.name, rows.text(field.values[v])]])) }, text)]).flat().filter(Boolean),
        field.texts.length > 40 ? ` and ${words.count(field.texts.length - 40)} more` : null)))));
  }

  return { failed, run };
})();
