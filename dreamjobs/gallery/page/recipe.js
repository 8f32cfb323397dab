// A picture's recipe as text to be used again: a command for the shell, a grid in YAML. Nothing here touches the page.
"use strict";

const recipe = (() => {
  const PLAIN_TEXT = /^[A-Za-z][\w.+*(),:/= -]*$/; // needs no quotes in YAML, these apart:
  const NOT_TEXT = /^(true|false|null|yes|no|on|off|y|n)$|: |:$| $|\.inf$|\.nan$/i;

  // A value as YAML on one line. JSON is YAML, so whatever is not plain is written as that.
  function yaml(value) {
    if (typeof value !== "string") return JSON.stringify(value);
    return PLAIN_TEXT.test(value) && !NOT_TEXT.test(value) ? value : JSON.stringify(value);
  }

  // Whole numbers that JavaScript would round are text here, and numbers there.
  const valueOf = (field, i) => {
    const value = rows.valueAt(field, i);
    return field.large ? String(value) : yaml(value);
  };

  // A word for a POSIX shell.
  function quoted(word) {
    return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
  }

  const changed = (i) => rows.fields.filter((field) => rows.isChanged(field, i));

  // What is not a default, and `threads`, which is part of what decides the bytes and which `dream` sets otherwise.
  function settings(i) {
    const fields = rows.fields.filter((field) => rows.isChanged(field, i) || field.name === "threads");
    return fields.map((field) => `--set ${quoted(`${field.name}=${valueOf(field, i)}`)}`);
  }

  function source(i) {
    const name = rows.name(i);
    return quoted(name.startsWith("-") ? `./${name}` : name);
  }

  function extension(i) {
    return rows.output[i].split(".").pop();
  }

  const isSequence = (i) => rows.video[i] || (rows.byName.get("frames") && rows.valueAt(rows.byName.get("frames"), i) > 1);

  function command(i) {
    const parts = settings(i);
    if (!isSequence(i)) return ["dreamjobs dream", source(i), `-o dream.${extension(i)}`, ...parts].join(" ");
    const clip = rows.name(i).endsWith("/") ? ["--clips"] : [];
    return [...["dreamjobs manifest", source(i), ...clip, "-o sequence.parquet"], ...parts, "&& dreamjobs run sequence.parquet sequence"].join(" ");
  }

  function grid(i) {
    const lines = changed(i).map((field) => `${field.name}: ${valueOf(field, i)}\n`);
    return lines.join("") || "{}\n";
  }

  return { changed, command, grid, yaml, quoted };
})();
