"""Errors that mitonb raises on purpose: each says what it got, what it needs, and what to do."""

import contextlib
from collections.abc import Iterator


class MitonbError(Exception):
    """Base of every error that mitonb raises on purpose."""


class InputError(MitonbError, ValueError):
    """The input cannot be used as it is."""


class UnsupportedFormatError(InputError):
    """No reader or writer knows this kind of file."""


class CorruptFileError(InputError):
    """The file is damaged or truncated."""


class ChangedFileError(InputError):
    """Another program has changed the file while it was open."""


class TooLargeError(InputError):
    """The work would not fit into the memory that is there."""


class UnsafeFileError(InputError):
    """The file asks for something that a data file must not do."""


class UnreachableError(InputError):
    """A store on the network does not answer, or refuses to."""


class AxesError(InputError):
    """The axes of an array do not tell which of them are z, y and x."""


class NotOpenError(InputError, AttributeError):
    """The workbench has no such part before there is a volume to work on."""


class ModelError(MitonbError):
    """A model is missing, damaged, or does not do what its card says."""


class MissingTorchError(MitonbError, ImportError):
    """PyTorch is not installed, and running or training a network needs it."""


class UntrustedModelError(ModelError):
    """The model can only be run by the code in its file, and nobody has said that this code may run."""


class ChecksumError(ModelError):
    """A model file is not the one whose hash was pinned."""


class DownloadError(ModelError):
    """A model could not be fetched, or not whole."""


class StoreError(MitonbError):
    """The project file cannot be read or written."""


class ReadOnlyStoreError(StoreError):
    """The project file is open for reading only."""


class StaleWriterError(StoreError):
    """Another session has taken over the project file."""


class JobError(MitonbError):
    """A long job failed."""


class CancelledError(JobError):
    """A long job was cancelled by its user."""


@contextlib.contextmanager
def guarded(what: object, kind: type[MitonbError] = CorruptFileError, advice: str = "") -> Iterator[None]:
    """Turn whatever damaged files make libraries and readers raise into one clear error.

    What only a fault of ours raises, a name or a module that is not there, stays as it is.
    """
    try:
        yield
    except (MitonbError, NameError, ImportError):
        raise
    except MemoryError as error:
        raise TooLargeError(f"{what} needs more memory than there is. Take a part, or close notebooks.") from error
    except Exception as error:
        why = " ".join(str(error).split())[:160] or type(error).__name__
        raise kind(f"{what} cannot be read: it is damaged, truncated or unusual ({why}). {advice}".strip()) from error


@contextlib.contextmanager
def wanting_torch() -> Iterator[None]:
    """Turn the failure of an import of torch into a sentence that says how to get it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "torch":
            raise
        raise MissingTorchError(
            "PyTorch is not installed, and running or training a network needs it. Install its CPU build with: "
            "pip install torch --index-url https://download.pytorch.org/whl/cpu",
            name="torch",
        ) from error
