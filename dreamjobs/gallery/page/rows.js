// The pictures as columns: picture i is what stands at i in each. Nothing here touches the page.
"use strict";

const rows = (() => {
  const { header, chunks } = dreamjobs;
  const join = (name) => [].concat(...chunks.map((chunk) => chunk[name]));
  const columns = {};
  for (const name of ["id", "output", "preview", "video", "width", "height", "start", "end", "seconds", "finished"]) {
    columns[name] = join(name);
  }
  const count = columns.id.length;
  const image = Int32Array.from(join("image"));

  // A field is a parameter or a `meta_*` column: `at[i]` is where picture i's value stands among its values.
  const fields = header.fields.map((field) => {
    const varies = field.values.length > 1;
    const at = varies ? Int32Array.from([].concat(...chunks.map((chunk) => chunk.fields[field.name]))) : null;
    return { ...field, varies, at, texts: field.values.map(text), label: field.name.replace(/^meta_/, "") };
  });
  // Photographs are a field too, so that they can be filtered by and be an axis.
  const photograph = {
    name: "photograph", label: "photograph", meta: false, default: null,
    values: header.images, texts: header.images.map(baseName), varies: header.images.length > 1, at: image,
  };
  const byName = new Map([photograph, ...fields].map((field) => [field.name, field]));
  const byId = new Map(columns.id.map((id, i) => [id, i]));

  function text(value) {
    return value === null ? "none" : String(value);
  }

  function baseName(name) {
    return name.replace(/\/+$/, "").split("/").pop() || name;
  }

  const valueAt = (field, i) => field.values[field.at ? field.at[i] : 0];

  // How much the objective rose, as a share of where it began: what pictures of other objectives can be compared by.
  const rise = columns.start.map((start, i) => {
    const end = columns.end[i];
    return start === null || end === null || start === 0 ? null : (end - start) / Math.abs(start);
  });

  const isChanged = (field, i) => !field.meta && valueAt(field, i) !== field.default;

  // What tells this picture from others of its photograph, in few words.
  function settings(i) {
    const parts = [];
    for (const field of fields) {
      if (!field.varies || field.meta) continue;
      const value = field.texts[field.at[i]];
      parts.push(["objective", "net", "start"].includes(field.name) ? value : `${field.label} ${value}`);
    }
    return parts.join(" · ") || text(valueAt(byName.get("objective"), i));
  }

  return {
    ...columns, count, image, rise, fields, photograph, byName, valueAt, isChanged, settings, text, baseName,
    title: header.title, summary: header.summary, failed: dreamjobs.failed, images: header.images,
    varying: [photograph, ...fields].filter((field) => field.varies),
    find: (id) => byId.get(id),
    name: (i) => header.images[image[i]],
    file: (i) => photograph.texts[image[i]],
    link: (i) => header.pictures + columns.output[i],
    thumb: (i) => (columns.preview[i] ? `thumbs/${columns.preview[i]}.webp` : ""),
    before: (i) => header.photographs[image[i]],
    alt: (i) => `${photograph.texts[image[i]]}, dreamed: ${settings(i)}`,
    detailFile: (i) => Math.floor(i / header.detailRows),
    detailPlace: (i) => i % header.detailRows,
  };
})();
