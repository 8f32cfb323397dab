// Where the data scripts leave what they hold; `rows.js` makes columns of it.
"use strict";

const dreamjobs = {
  header: null,
  chunks: [],
  failed: [],
  detailed: new Map(),
  run(header) { this.header = header; },
  rows(chunk) { this.chunks.push(chunk); },
  failures(list) { this.failed = list; },
  details(number, list) { this.detailed.set(number, list); },
};
