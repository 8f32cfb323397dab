"""A run's pictures as a static site: a wall, matrices, each picture beside its photograph, and what failed.

It opens from disk and from a bucket, with no server, no network and no build: data are scripts that hand their rows to
the page, links are relative, previews are made once and kept. Everything that comes from file names, parameters or
errors is text: no script is inline, and the page's policy forbids it.

It reads results and pictures and writes files; it knows no torch and no ray. Previews may be made elsewhere all the
same: `write_gallery` takes the way in which a function is called on each of many items.

Read in this order: `data` (rows -> what the page is given), `summary`, `threads`, `previews`, `site` (the files),
`write`; then
`page/`, the page itself, whose `app.js` says what to read first.
"""

from dreamjobs.gallery.threads import Each, by_threads
from dreamjobs.gallery.write import Choices, write_gallery

__all__ = ["Choices", "Each", "by_threads", "write_gallery"]
