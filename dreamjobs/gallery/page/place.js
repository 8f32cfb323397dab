// Where the person is, kept in location.hash: `#/wall?objective=mix8d&sort=rise&p=0a1b2c`. Links and Back just work.
// Values are written as text, not as numbers of this data, so that a link outlives the next `dreamjobs gallery`.
"use strict";

const place = (() => {
  const VIEWS = ["wall", "matrix", "failed", "run"];
  let onChange = () => {};

  function read() {
    const [path, query = ""] = location.hash.replace(/^#\/?/, "").split(/\?(.*)/s);
    return { view: VIEWS.includes(path) ? path : "wall", params: new URLSearchParams(query) };
  }

  function href(view, params) {
    const query = params.toString();
    return `#/${view}${query ? `?${query}` : ""}`;
  }

  // The address that differs from this one in some parameters; null or an empty list removes one.
  function changed(changes, view) {
    const now = read();
    for (const [name, value] of Object.entries(changes)) {
      now.params.delete(name);
      for (const item of value === null ? [] : [].concat(value)) now.params.append(name, item);
    }
    return href(view ?? now.view, now.params);
  }

  // `replace` is for what is not worth a step back: typing, moving from picture to picture.
  function go(changes, { view, replace = false } = {}) {
    const target = changed(changes, view);
    if (target === location.hash) return;
    if (replace) history.replaceState(history.state, "", target);
    else history.pushState({ inside: true }, "", target);
    onChange();
  }

  return {
    read, href, changed, go,
    views: VIEWS,
    // Back, if that stays on this page; a picture that was opened by its link has nothing behind it.
    leave(changes) {
      if (history.state?.inside) history.back();
      else go(changes, { replace: true });
    },
    listen(call) {
      onChange = call;
      addEventListener("hashchange", call);
      addEventListener("popstate", call);
    },
  };
})();
