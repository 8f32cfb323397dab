"""How large the photographs of a manifest are, and how many frames its clips have, where the manifest does not say."""

import functools

from dreamjobs import images
from dreamjobs.errors import DreamjobsError
from dreamjobs.jobs import Source
from dreamjobs.storage import open_store, read_url, split_url
from dreamjobs.worker.clip import find_clip

Size = tuple[int, int]
_PROBED = 16
_PROBE_BYTES = 1 << 16
_UNKNOWN: Size = (3464, 4619)  # 16 megapixels, what `Job.pixels` takes too


class Photographs:
    """Sizes (h, w) and frames. Of the photographs without a size the first 16 are looked at; the others are taken to
    have their mean, so that a million rows are not a million reads.
    """

    def __init__(self) -> None:
        self.guessed = 0
        self._sides: list[Size] = []
        self._probes = 0
        self.frames = functools.lru_cache(maxsize=4096)(self._frames)
        self._clip_size = functools.lru_cache(maxsize=4096)(_size_of_clip)
        self._probe = functools.lru_cache(maxsize=_PROBED)(_size_of_file)

    def size(self, source: Source) -> Size:
        """Height and width of a photograph, or of a clip's first frame."""
        if source.width and source.height:
            return source.height, source.width
        if source.url.endswith("/"):
            return self._clip_size(source.url) or _UNKNOWN
        self.guessed += 1
        return self._guess(source.url)

    def _guess(self, url: str) -> Size:
        if self._probes < _PROBED:
            self._probes += 1
            found = self._probe(url)
            if found:
                self._sides.append(found)
                return found
        if not self._sides:
            return _UNKNOWN
        height, width = (sum(sides) / len(sides) for sides in zip(*self._sides, strict=True))
        return round(height), round(width)

    @staticmethod
    def _frames(url: str) -> int:
        try:
            return len(find_clip(url).frames)
        except DreamjobsError:
            return 1  # the run says what is wrong with it


def _size_of_file(url: str) -> Size | None:
    place = split_url(url)
    try:
        return _pair(images.probe(open_store(place.base).get_range(place.key, 0, _PROBE_BYTES)))
    except DreamjobsError:
        return None


def _size_of_clip(url: str) -> Size | None:
    try:
        return _pair(images.probe(read_url(find_clip(url).frames[0])))
    except DreamjobsError:
        return None


def _pair(size: images.Size | None) -> Size | None:
    return (size.height, size.width) if size else None
