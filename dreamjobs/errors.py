"""The exceptions of dreamjobs, and which of them are worth another attempt.

    DreamjobsError
    ├── InputError                 what was given is wrong: never retried, exit code 2 before a run starts
    │   ├── ParamsError            a parameter's name, type or range
    │   ├── ManifestError          rows of a manifest, all of them listed
    │   ├── ObjectiveError         an objective expression, with a caret under the place
    │   ├── NetError               an unknown net, layer or weights
    │   ├── ImageError             bytes that are not a picture, or one over the pixel limit
    │   ├── SourceChangedError     a photograph that is not the one its manifest was built from
    │   ├── NotFoundError          an object or file that does not exist
    │   └── AccessError            an object or file that may not be read or written
    ├── RunError                   a RUN folder that belongs to another manifest, version or live driver
    └── TransientError             worth another attempt
        ├── StorageError           a store that did not answer as it should
        └── WorkerLostError        an actor, a task's process or a node that died

A message says what failed with its value, what is allowed, and what to do. Every exception takes that one
message, so that it survives pickling between processes.
"""


class DreamjobsError(Exception):
    """Base of every exception that dreamjobs raises on purpose."""


class InputError(DreamjobsError):
    """What the person gave is wrong; trying again gives the same answer."""


class ParamsError(InputError):
    """A parameter has an unknown name, a wrong type or a value out of range."""


class ManifestError(InputError):
    """One or more rows of a manifest, or its columns, cannot be used."""


class ObjectiveError(InputError):
    """An objective expression does not parse or names what the net lacks."""


class NetError(InputError):
    """A net, a layer or weights that cannot be found or loaded."""


class ImageError(InputError):
    """Bytes that do not decode to a picture, or a picture over the pixel limit."""


class SourceChangedError(InputError):
    """A photograph was replaced after its manifest was built."""


class NotFoundError(InputError):
    """An object or a file that does not exist."""


class AccessError(InputError):
    """An object or a file that may not be read or written with the credentials at hand."""


class RunError(DreamjobsError):
    """A RUN that belongs to another manifest or version, or to a driver that is alive."""


class TransientError(DreamjobsError):
    """A failure that another attempt may not meet."""


class StorageError(TransientError):
    """A store that failed after its own retries."""


class WorkerLostError(TransientError):
    """The process or node that worked on a job died."""


def is_retryable(error: BaseException) -> bool:
    """Whether another attempt at the same job may end otherwise.

    Input errors never are; transient ones, lack of memory and the operating system's I/O errors are; a bug
    (any other exception) is not, because it would only be met again.
    """
    return isinstance(error, TransientError | MemoryError | OSError)
