"""The synthesiser of Duet: eSpeak NG as a library.

The library comes from the wheel `espeakng-loader` or from the system. Readers never need it: the sound
ships with the corpora. Shown in chapter 02.
"""

from __future__ import annotations

import _ctypes
import ctypes
import ctypes.util
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

RATE = 22_050
"""Samples per second that eSpeak NG delivers."""

_SYNCHRONOUS, _NEVER_EXIT, _UTF8 = 2, 0x8000, 1
_PARAMETERS = {"rate": 1, "pitch": 3, "range": 4, "word_gap": 7}
_OUTPUT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class SpeechError(RuntimeError):
    """No synthesiser, or one that cannot do what is asked; the message says what to do."""


class Synthesiser:
    """A freshly loaded eSpeak NG. Its sound depends on what was said before, so load one per utterance."""

    def __init__(self, library: str, data: bytes | None) -> None:
        self.library = ctypes.CDLL(library)
        self.library.espeak_Info.restype = ctypes.c_char_p
        if self.library.espeak_Initialize(_SYNCHRONOUS, 0, data, _NEVER_EXIT) != RATE:
            raise SpeechError(f"eSpeak NG in {library} did not start at {RATE} Hz. Reinstall `espeakng-loader`.")
        self._pieces: list[np.ndarray] = []
        self._receive = _OUTPUT(self._keep)  # must outlive the calls into C
        self.library.espeak_SetSynthCallback(self._receive)

    def _keep(self, samples: ctypes._Pointer[ctypes.c_short], number: int, _events: int) -> int:
        if samples and number:
            self._pieces.append(np.ctypeslib.as_array(samples, (number,)).copy())
        return 0

    def say(self, text: str, variant: str, **parameters: int) -> np.ndarray:
        """Synthesise a text.

        Args:
            text: What to say.
            variant: A voice and its variant, such as "gmw/en-US+m3".
            parameters: `rate` in words per minute, `pitch` and `range` from 0 to 99, `word_gap` in 10 ms.

        Returns:
            float32, shape (samples,), at `RATE` Hz, within -1 and 1.

        Raises:
            SpeechError: If the voice is unknown or nothing was said.
        """
        self._pieces.clear()
        if self.library.espeak_SetVoiceByName(variant.encode()) != 0:
            raise SpeechError(f"This eSpeak NG has no voice {variant!r}. Install `espeakng-loader` 0.2.4 or newer.")
        for name, value in parameters.items():
            self.library.espeak_SetParameter(_PARAMETERS[name], value, 0)
        encoded = text.encode() + b"\0"
        self.library.espeak_Synth(encoded, len(encoded), 0, 0, 0, _UTF8, None, None)
        self.library.espeak_Synchronize()
        wave = np.concatenate([np.zeros(0, np.int16), *self._pieces])
        if not wave.any():
            raise SpeechError(f"eSpeak NG said nothing for {text!r} with the voice {variant!r}. Give it words.")
        return wave.astype(np.float32) / 32_768

    def close(self) -> None:
        """End the synthesiser and unload its library, so that the next one starts from the same state."""
        self.library.espeak_Terminate()
        _ctypes.dlclose(self.library._handle)


@contextmanager
def synthesiser() -> Iterator[Synthesiser]:
    """Load eSpeak NG afresh and unload it at the end.

    Raises:
        SpeechError: If there is no eSpeak NG on this machine.
    """
    loaded = Synthesiser(*_find())
    try:
        yield loaded
    finally:
        loaded.close()


def version() -> str:
    """Version of eSpeak NG, such as "1.52.0"."""
    with synthesiser() as loaded:
        return loaded.library.espeak_Info(None).decode().split()[0]


def _find() -> tuple[str, bytes | None]:
    """Path of the library and of its data; the system's library knows its data itself."""
    try:
        import espeakng_loader
    except ImportError:
        if library := ctypes.util.find_library("espeak-ng"):
            return library, None
        raise SpeechError(
            "No eSpeak NG is installed, so no speech can be made. Run `pip install espeakng-loader`, or use the "
            "corpora that ship with the sound: `mer_lib.corpora.load('duet-i')`."
        ) from None
    return espeakng_loader.get_library_path(), espeakng_loader.get_data_path().encode()
