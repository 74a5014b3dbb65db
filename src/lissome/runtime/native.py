"""The extension module, or one clear error where it is absent."""

from lissome.errors import NativeMissing

try:
    from lissome import _native as native
except ImportError as error:
    raise NativeMissing(f"running a network needs the compiled part of lissome: {error}; reinstall lissome") from error

__all__ = ["native"]
