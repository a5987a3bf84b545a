"""Pretrained encoders of speech and of text, as `transformers` loads them: from their inputs to hidden states.

Nothing here depends on how utterances are put together: a batch gives each of them what it gets alone.
Shown in chapter 06.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from logging import ERROR, getLogger
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer, processors
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from mer_lib._torchaudio import torchaudio
from mer_lib.cache import digest
from mer_lib.features.audio import STEP_SECONDS

ALL = "all"
"""The layer that means every layer, for a weighted sum that learns with the system."""

PADDABLE = ("hubert", "wav2vec2", "wavlm")
"""Kinds of speech encoder whose mask keeps padding out, unless they normalise over time (see `SpeechEncoder`)."""

MOST_SECONDS = 60.0
"""Most sound in a batch, padding included; a longer utterance goes alone."""

MOST_PIECES = 4096
"""Most pieces of text in a batch, padding included."""

_UNUSED = ("pooler", "masked_spec_embed", "parametrizations")  # said to be missing, and not missed here


class EncoderError(ValueError):
    """A pretrained encoder that cannot be used; the message says what is wrong, where, and what to do."""


class Home(NamedTuple):
    """Where a pretrained encoder comes from, and its size.

    Attributes:
        mark: Changes whenever its files do.
        commit: Of a model from the hub; None for a folder.
        config: Its configuration.
    """

    mark: str
    commit: str | None
    config: Any

    @property
    def layers(self) -> int:
        """Number of layers."""
        return int(self.config.num_hidden_layers)

    @property
    def width(self) -> int:
        """Numbers per hidden state."""
        return int(self.config.hidden_size)


@dataclass(frozen=True)
class Pretrained:
    """A pretrained encoder, and what of it is used.

    Attributes:
        name: Its name on the Hugging Face hub, or the folder of a saved one.
        layer: Number of a layer; 0 is what enters the first one, negative ones count from the top. Or "all":
            a weighted sum that learns with the system.
        top: How many of the highest layers that are used learn with the system; 0 leaves the encoder frozen.
        revision: Branch, tag or commit on the hub; None for its main branch.
    """

    name: str
    layer: int | str = -1
    top: int = 0
    revision: str | None = None

    @classmethod
    def named(cls, text: str) -> Pretrained:
        """Read an encoder as one writes it: its name, and options as corpora have them.

        Args:
            text: Such as "roberta-base" or "microsoft/wavlm-base-plus?layer=all&top=2"; options are `layer` (a number,
                or all), `top` and `revision`.

        Raises:
            EncoderError: If an option is unknown, or has a value it cannot have.
        """
        name, _, rest = text.partition("?")
        options: dict[str, Any] = dict(part.partition("=")[::2] for part in rest.split("&") if part)
        for option, value in options.items():
            if option not in ("layer", "top", "revision") or not value or not name:
                raise EncoderError(
                    f"{text!r} names no encoder; write it like roberta-base?layer=all&top=2&revision=main."
                )
            if option != "revision" and value != (ALL if option == "layer" else None):
                try:
                    options[option] = int(value)
                except ValueError:
                    what = f"A layer is a number or {ALL!r}" if option == "layer" else "top is a number of layers"
                    raise EncoderError(f"{what}, not {value!r}, in {text!r}.") from None
        return cls(str(Path(name).expanduser()) if name.startswith("~") else name, **options)

    @property
    def learns(self) -> bool:
        """Whether something of it is trained together with the system."""
        return self.layer == ALL or self.top > 0

    @property
    def label(self) -> str:
        """A short name for tables; for a folder it tells the contents, since two may be called alike."""
        folder = Path(self.name)
        tuned = f", top {self.top} tuned" if self.top else ""
        at = f"#{_contents(folder)[:6]}" if folder.is_dir() else f" at {self.revision}" if self.revision else ""
        return f"{folder.name}{at} layer {self.layer}{tuned}"

    def home(self) -> Home:
        """Find it, on this machine or on the hub, and read its configuration.

        Raises:
            EncoderError: If there is no such model, or it has no such layer.
        """
        commit = None if Path(self.name).is_dir() else _commit(self.name, self.revision)
        config = _load(self, "AutoConfig", "configuration", commit)
        layered = getattr(config, "num_hidden_layers", 0) and getattr(config, "hidden_size", 0)
        if not layered or getattr(config, "is_encoder_decoder", False):
            raise EncoderError(f"{self.name} is no encoder with layers of one width; choose one like roberta-base.")
        home = Home(f"{self.name} {commit}" if commit else _contents(Path(self.name)), commit, config)
        self.number(home)
        return home

    def number(self, home: Home) -> int:
        """Number of the highest layer that is used, from 0."""
        layer = home.layers if self.layer == ALL else self.layer
        if not isinstance(layer, int) or not -home.layers - 1 <= layer <= home.layers:
            raise EncoderError(
                f"{self.name} has no layer {self.layer!r}; it has 0 to {home.layers}, -1 for the last one, and 'all'."
            )
        layer %= home.layers + 1
        if not 0 <= self.top <= layer:
            raise EncoderError(f"top is {self.top}; of {self.name} 0 to {layer} layers up to the one used can learn.")
        return layer

    def key(self) -> str:
        """A name that changes with everything that changes the hidden states."""
        home = self.home()
        layer = ALL if self.layer == ALL else self.number(home)
        return f"{home.mark} layer {layer} top {self.top}"


def _commit(name: str, revision: str | None) -> str:
    """The commit that a model on the hub stands at: the one on this machine, or else the newest.

    What is here is not looked up again, so that results stay as they are and no network is needed.
    """
    for here in (True, False):
        try:
            with _quietly():
                from transformers.utils import cached_file

                found = cached_file(name, "config.json", revision=revision or "main", local_files_only=here)
        except (OSError, ValueError):
            continue
        return Path(str(found)).parent.name
    raise EncoderError(
        f"There is no model {name!r} on this machine, and it could not be downloaded. Check its name and the"
        " connection, or give the folder of a saved model."
    )


def _contents(folder: Path) -> str:
    """A digest of the files of a saved model."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return digest(*(f"{p.name} {_file_digest(p, p.stat().st_size, p.stat().st_mtime_ns)}" for p in files))


@lru_cache(maxsize=64)
def _file_digest(path: Path, size: int, changed: int) -> str:
    """Digest of a file, read again only after a change."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load(asked: Pretrained, auto: str, what: str, commit: str | None, **options: Any) -> Any:
    """Load a part of a model: from this machine if it is there, else from the hub."""
    in_folder = Path(asked.name).is_dir()
    problem = ""
    for here in (True,) if in_folder else (True, False):
        try:
            with _quietly():
                import transformers

                kind = getattr(transformers, auto)
                return kind.from_pretrained(asked.name, revision=commit or "main", local_files_only=here, **options)
        except Exception as error:  # whatever a damaged or foreign file makes the library stumble over
            problem = " ".join(str(error).split())[:150]
    where = "in that folder" if in_folder else "on this machine or could not be downloaded"
    raise EncoderError(
        f"The {what} of {asked.name} is missing {where}, or cannot be read: {problem}... Restore it, or choose another."
    )


def load_model(asked: Pretrained, home: Home) -> nn.Module:
    """Load the weights, in full precision, for evaluation.

    Raises:
        EncoderError: If they cannot be read, or some layers would be left random.
    """
    model, info = _load(asked, "AutoModel", "model", home.commit, output_loading_info=True)
    missing = [name for name in info["missing_keys"] if not any(part in name for part in _UNUSED)]
    if missing:
        raise EncoderError(
            f"{asked.name} was saved without {len(missing)} of its weights, such as {sorted(missing)[0]}; they would"
            " be random. Save the whole encoder, or choose another."
        )
    return model.float().eval()


@contextmanager
def _quietly() -> Iterator[None]:
    """Without the library's own progress bars and advice, which a page would show."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "IProgress not found")
        from transformers.utils import logging

    hub = getLogger("huggingface_hub")  # tells of each of its attempts
    level, bars, told = logging.get_verbosity(), logging.is_progress_bar_enabled(), hub.level
    hub.setLevel(ERROR)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        hub.setLevel(told)
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def best_device() -> torch.device:
    """CUDA or MPS where there is one, else the processor."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def groups(lengths: Sequence[int], most: int, equal: bool) -> list[list[int]]:
    """Put sequences together for batches, shortest first.

    Args:
        lengths: Of each sequence.
        most: Most of a batch, padding included; a longer sequence goes alone.
        equal: Whether only sequences of one length may share a batch.

    Returns:
        Positions in `lengths`, each once.
    """
    found: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        together = bool(found) and (len(found[-1]) + 1) * lengths[row] <= most
        if together and not (equal and lengths[found[-1][0]] != lengths[row]):
            found[-1].append(row)
        else:
            found.append([row])
    return found


class Encoder(nn.Module):
    """A pretrained encoder: sequences in, the hidden states of each out.

    Args:
        asked: Which encoder, and which layer.
        device: Where it runs; by default `best_device`.

    Attributes:
        most: Most of a batch, padding included.
        equal: Whether only sequences of one length may share a batch.
        padding: What stands after the end of a shorter sequence.
    """

    most: int
    equal: bool = False
    padding: float = 0.0

    def __init__(self, asked: Pretrained, device: torch.device | str | None = None) -> None:
        super().__init__()
        self.asked, self.home = asked, asked.home()
        self.number = asked.number(self.home)
        self.model = load_model(asked, self.home).to(device or best_device())

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return next(self.model.parameters()).device

    def states(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Hidden states of each sequence, the same whatever it shares a batch with.

        Args:
            inputs: (length,) each.

        Returns:
            (time, width) each, or (time, layers + 1, width) if all layers are used; where the encoder runs.
        """
        found: dict[int, Tensor] = {}
        for rows in groups([len(x) for x in inputs], self.most, self.equal):
            lengths = torch.tensor([len(inputs[row]) for row in rows])
            padded = pad_sequence([inputs[row] for row in rows], batch_first=True, padding_value=self.padding)
            full = bool((lengths == lengths.max()).all())
            mask = None if full else (torch.arange(padded.shape[1]) < lengths[:, None]).long().to(self.device)
            hidden = self._forward(padded.to(self.device), mask)
            for row, states in zip(rows, hidden, strict=True):
                found[row] = states if full else states[: self.steps(len(inputs[row]))]
        return [found[row] for row in range(len(inputs))]

    def steps(self, length: int) -> int:
        """How many hidden states a sequence has."""
        return length

    def _forward(self, padded: Tensor, mask: Tensor | None) -> Tensor:
        """Half precision where it pays, on CUDA and without gradients; what overflows there is done again in full."""
        half = self.device.type == "cuda" and not torch.is_grad_enabled()
        with torch.autocast("cuda", dtype=torch.float16) if half else nullcontext():
            hidden = self._layers(padded, mask)
        return self._layers(padded, mask) if half and not hidden.isfinite().all() else hidden

    def _layers(self, padded: Tensor, mask: Tensor | None) -> Tensor:
        arguments = {self.model.main_input_name: padded, "attention_mask": mask}
        with warnings.catch_warnings():  # of WavLM's own making
            warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
            states = self.model(**arguments, output_hidden_states=True).hidden_states
        return torch.stack(states, dim=2).float() if self.asked.layer == ALL else states[self.number].float()


class SpeechEncoder(Encoder):
    """An encoder of waveforms: wav2vec 2.0 (Baevski et al. 2020), HuBERT (Hsu et al. 2021), WavLM (Chen et al. 2022).

    Models with `feat_extract_norm="group"` (most base ones) normalise their first layer over the whole of time, padding
    included, and no mask undoes that. So only sounds of the same length share a batch there. Those with "layer" (most
    large ones) normalise each step alone and can be padded.
    """

    def __init__(self, asked: Pretrained, device: torch.device | str | None = None) -> None:
        super().__init__(asked, device)
        self.prepare = SpeechInputs(asked)
        config = self.home.config
        self.most = round(MOST_SECONDS * self.prepare.rate)
        self.equal = config.model_type not in PADDABLE or config.feat_extract_norm != "layer"
        self.every = max(1, round(STEP_SECONDS * self.prepare.rate / math.prod(config.conv_stride)))

    def steps(self, length: int) -> int:
        """How many hidden states a sound has: one after each stride, while a whole kernel fits."""
        for kernel, stride in zip(self.home.config.conv_kernel, self.home.config.conv_stride, strict=True):
            length = (length - kernel) // stride + 1
        return length

    def vectors(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Hidden states averaged to steps of `STEP_SECONDS`, (steps, ..., width) each: the pace of the default frames.

        Args:
            inputs: What `prepare` returns, each.
        """
        return [average(states, self.every) for states in self.states(inputs)]


def average(states: Tensor, every: int) -> Tensor:
    """Mean of every so many states, (time, ...) to (ceil(time / every), ...); the last mean may be of fewer."""
    return torch.stack([part.mean(0) for part in states.split(every)])


class SpeechInputs:
    """From a waveform to what an encoder of speech reads; needs no weights."""

    def __init__(self, asked: Pretrained) -> None:
        home = asked.home()
        self.config = home.config
        if not getattr(self.config, "conv_kernel", None) or not getattr(self.config, "conv_stride", None):
            raise EncoderError(f"{asked.name} does not read waveforms; choose one like microsoft/wavlm-base-plus.")
        self.extractor = _load(asked, "AutoFeatureExtractor", "feature extractor", home.commit)
        self.rate = int(self.extractor.sampling_rate)

    def __call__(self, wave: np.ndarray, sample_rate: int) -> Tensor:
        """Bring a waveform to the encoder's rate, and normalise it if that is what the encoder was trained on.

        A sound too short for one step is followed by silence.

        Args:
            wave: (samples,).
            sample_rate: In Hz.

        Returns:
            (samples,), float32.
        """
        sound = torch.as_tensor(wave, dtype=torch.float32)
        if sample_rate != self.rate:
            sound = torchaudio.functional.resample(sound, sample_rate, self.rate)
        shortest = 1
        for kernel, stride in zip(self.config.conv_kernel[::-1], self.config.conv_stride[::-1], strict=True):
            shortest = (shortest - 1) * stride + kernel
        sound = nn.functional.pad(sound, (0, max(0, shortest - len(sound))))
        ready = self.extractor(sound.numpy(), sampling_rate=self.rate, return_tensors="np")
        return torch.as_tensor(ready["input_values"][0], dtype=torch.float32)


class TextEncoder(Encoder):
    """An encoder of texts: BERT (Devlin et al. 2019), RoBERTa (Liu et al. 2019) and their like."""

    most = MOST_PIECES

    def __init__(self, asked: Pretrained, device: torch.device | str | None = None) -> None:
        super().__init__(asked, device)
        self.prepare = TextInputs(asked)
        self.padding = self.prepare.tokenizer.pad_token_id or 0

    def vectors(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Hidden states of the pieces of each text, (pieces, ..., width), without the special ones.

        Args:
            inputs: Ids that `prepare` returns, each.
        """
        states = self.states(inputs)
        return [s[self.prepare.kept(ids).to(s.device)] for s, ids in zip(states, inputs, strict=True)]


class TextInputs:
    """From a text to the ids that an encoder of text reads; needs no weights."""

    def __init__(self, asked: Pretrained) -> None:
        home = asked.home()
        if getattr(home.config, "conv_kernel", None):
            raise EncoderError(f"{asked.name} does not read text; choose one like roberta-base.")
        self.tokenizer = _load(asked, "AutoTokenizer", "tokenizer", home.commit)
        if not self.tokenizer.is_fast:
            raise EncoderError(f"The tokenizer of {asked.name} does not say where its pieces stand; choose another.")
        names = ("cls", "sep", "bos", "eos", "pad")
        ids = {getattr(self.tokenizer, f"{name}_token_id") for name in names} - {None}
        self.special = torch.tensor(sorted(ids), dtype=torch.long)
        positions = getattr(home.config, "max_position_embeddings", None) or math.inf
        self.limit = int(min(self.tokenizer.model_max_length, positions - 2, 2**31))  # RoBERTa's positions begin at 2

    def __call__(self, text: str) -> tuple[Tensor, np.ndarray]:
        """Cut a text into pieces: words and parts of words.

        Returns:
            Their ids, (pieces,), the model's special ones at the ends included; and where each but the special ones
            begins and ends, (kept, 2), from 0 to 1. At most `limit` ids: what comes after them is not read.
        """
        cut = self.tokenizer(text, truncation=True, max_length=self.limit, return_offsets_mapping=True)
        ids = torch.tensor(cut["input_ids"] or [self.tokenizer.unk_token_id or 0], dtype=torch.long)
        if torch.isin(ids, self.special).all() or not cut["input_ids"]:  # no piece of text: the first id stands for it
            return ids, np.array([[0.0, 1.0]], dtype=np.float32)
        offsets = np.array(cut["offset_mapping"], dtype=np.float32)
        return ids, offsets[self.kept(ids).numpy()] / len(text)

    def words(self) -> Tokenizer:
        """Cuts texts in the same way, without the special ids at the ends."""
        tokenizer = Tokenizer.from_str(self.tokenizer.backend_tokenizer.to_str())
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.post_processor = processors.Sequence([])
        return tokenizer

    def kept(self, ids: Tensor) -> Tensor:
        """Which of some ids are pieces of the text, (pieces,) of True and False; the first one if none is."""
        found = ~torch.isin(ids, self.special)
        return found if found.any() else torch.arange(len(ids)) == 0
