"""Pretrained encoders of speech and of text, as `transformers` loads them: from their inputs to hidden states.

Nothing here depends on how utterances are put together: a batch gives each of them what it gets alone.
Shown in chapter 06.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, processors
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from mer_lib._torchaudio import torchaudio
from mer_lib.features.audio import STEP_SECONDS
from mer_lib.features.checkpoint import (
    EXTRACTORS,
    EncoderError,
    Home,
    contents,
    extractor_settings,
    find,
    load_extractor,
    load_model,
    load_tokenizer,
)  # fmt: skip

ALL = "all"
"""The layer that means every layer, for a weighted sum that learns with the system."""

PADDED, EQUAL, BY_NORM, WINDOWS = "padded", "equal lengths", "padded if normalised by layer", "windows of 30 s"

SPEECH_KINDS = {
    **dict.fromkeys(("wav2vec2", "hubert", "wavlm"), BY_NORM),
    **dict.fromkeys(("data2vec-audio", "sew", "sew-d", "unispeech", "unispeech-sat", "wav2vec2-conformer"), EQUAL),
    "whisper": WINDOWS,
}
"""Kinds of speech encoder that the tests run, by the `model_type` of their configuration, and what shares a batch."""

TEXT_KINDS = {
    **dict.fromkeys(
        (
            "albert", "bert", "big_bird", "camembert", "data2vec-text", "deberta", "deberta-v2", "distilbert",
            "electra", "ernie", "longformer", "megatron-bert", "modernbert", "mpnet", "rembert", "roberta",
            "roberta-prelayernorm", "roformer", "squeezebert", "xlm-roberta", "xlm-roberta-xl", "xlnet",
        ),
        PADDED,
    ),
    **dict.fromkeys(("convbert", "fnet", "mobilebert", "yoso"), EQUAL),
}  # fmt: skip
"""Kinds of text encoder that the tests run, likewise. In those of the second row padding leaks into the states."""

MOST_SECONDS = 60.0
"""Most sound in a batch, padding included; a longer utterance goes alone."""

MOST_PIECES = 4096
"""Most pieces of text in a batch, padding included."""

PROBE = "The day was glad, and she cried."
"""A plain sentence that every encoder of text must be able to read."""

_PROBED = "2"  # change it whenever a probe refuses more, so that nothing made before it is read


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
        at = f"#{contents(folder)[:6]}" if folder.is_dir() else f" at {self.revision}" if self.revision else ""
        return f"{folder.name}{at} layer {self.layer}{tuned}"

    def home(self) -> Home:
        """Find it, on this machine or on the hub, and read its configuration.

        Raises:
            EncoderError: If there is no such model, or it has no such layer.
        """
        home = find(self.name, self.revision)
        config = home.config
        layered = getattr(config, "num_hidden_layers", 0) and getattr(config, "hidden_size", 0)
        if not layered or (getattr(config, "is_encoder_decoder", False) and config.model_type != "whisper"):
            raise EncoderError(
                f"{self.name}, of kind {config.model_type!r}, is no encoder with layers of one width; choose one of"
                " those that the README lists."
            )
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
        return f"{home.mark} layer {layer} top {self.top} probe {_PROBED}"


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
    """A pretrained encoder: sequences in, the hidden states of each out. It is tried once before it is used.

    Args:
        asked: Which encoder, and which layer.
        device: Where it runs; by default `best_device`.

    Attributes:
        most: Most of a batch, padding included.
        equal: Whether only sequences of one length may share a batch.
        padding: What stands after the end of a shorter sequence.
        window: Longest sequence that the encoder reads in one piece; longer ones are cut, and their states joined.

    Raises:
        EncoderError: If it cannot be used.
    """

    most: int
    equal: bool = False
    padding: float = 0.0
    window: int | None = None
    kinds: dict[str, str]

    def __init__(self, asked: Pretrained, device: torch.device | str | None = None) -> None:
        super().__init__()
        self.asked, self.home = asked, asked.home()
        self.number = asked.number(self.home)
        self._prepare()
        self.model = load_model(self.home)
        try:
            self._probe()
        except (EncoderError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # whatever a foreign model stumbles over
            raise EncoderError(
                f"{asked.name}, of kind {self.home.config.model_type!r}, could not be tried: {type(error).__name__}:"
                f" {' '.join(str(error).split())[:150]} Choose an encoder that the README lists."
            ) from error
        self.model.to(device or best_device())

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

        Raises:
            EncoderError: If the encoder cannot read a sequence.
        """
        parts = [part for x in inputs for part in self._parts(x)]
        found: dict[int, Tensor] = {}
        for rows in groups([len(part) for part in parts], self.most, self.equal):
            lengths = torch.tensor([len(parts[row]) for row in rows])
            padded = pad_sequence([parts[row] for row in rows], batch_first=True, padding_value=self.padding)
            full = bool((lengths == lengths.max()).all())
            mask = None if full else (torch.arange(padded.shape[1]) < lengths[:, None]).long().to(self.device)
            hidden = self._forward(padded.to(self.device), mask)
            for row, states in zip(rows, hidden, strict=True):
                count = self.steps(len(parts[row]))
                # A slice would keep the whole batch in memory: of Whisper, 30 s for a sound of two.
                found[row] = states[:count].clone() if count < len(states) else states
        ordered = iter(found[row] for row in range(len(parts)))
        joined = [[next(ordered) for _ in self._parts(x)] for x in inputs]
        return [rows[0] if len(rows) == 1 else torch.cat(rows) for rows in joined]

    def steps(self, length: int) -> int:
        """How many hidden states a sequence has."""
        return length

    def _prepare(self) -> None:
        """Load what makes inputs, and set what depends on it."""
        raise NotImplementedError

    def _trials(self) -> tuple[Tensor, Tensor]:
        """A long and a short input for the probe."""
        raise NotImplementedError

    def _parts(self, x: Tensor) -> list[Tensor]:
        """What of a sequence is read at a time; a rest too short for a state is left out."""
        if self.window is None or len(x) <= self.window:
            return [x]
        return [part for part in x.split(self.window) if self.steps(len(part))]

    @torch.no_grad()
    def _probe(self) -> None:
        """Try the encoder: it must give the states that it promises, and each input the same whatever is beside it.

        Where padding changes what an input gets, only equal lengths share a batch from then on.
        """
        long, short = self._trials()
        alone = [self.states([x])[0] for x in (long, short)]
        for x, states in zip((long, short), alone, strict=True):
            if len(states) != self.steps(len(x)) or states.shape[-1] != self.home.width:
                raise EncoderError(
                    f"{self.asked.name} gives states of shape {tuple(states.shape)} where {self.steps(len(x))} of"
                    f" {self.home.width} numbers are expected; choose an encoder that the README lists."
                )
            if not states.isfinite().all():
                raise EncoderError(
                    f"{self.asked.name} gives states that are not finite; restore it, or choose another."
                )
        if not self.equal:
            try:
                self.equal = not _alike(self.states([long, short]), alone)
            except EncoderError:
                self.equal = True
        if not _alike(self.states([long, long.flip(0), short])[::2], alone):
            raise EncoderError(
                f"{self.asked.name} gives an input other states when it shares a batch, or each time; choose an encoder"
                " that the README lists."
            )
        if self.home.config.model_type not in self.kinds:
            print(
                f"{self.asked.name} is of kind {self.home.config.model_type!r}, which this book was not tested with;"
                " it passed a first trial."
            )

    def _forward(self, padded: Tensor, mask: Tensor | None) -> Tensor:
        """Half precision where it pays, on CUDA and without gradients; what overflows there is done again in full."""
        half = self.device.type == "cuda" and not torch.is_grad_enabled()
        with torch.autocast("cuda", dtype=torch.float16) if half else nullcontext():
            hidden = self._layers(padded, mask)
        return self._layers(padded, mask) if half and not hidden.isfinite().all() else hidden

    def _layers(self, padded: Tensor, mask: Tensor | None) -> Tensor:
        try:
            with warnings.catch_warnings():  # of WavLM's own making
                warnings.filterwarnings("ignore", "Support for mismatched key_padding_mask")
                states = self.model(**self._arguments(padded, mask), output_hidden_states=True).hidden_states
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a model stumbles over
            raise EncoderError(
                f"{self.asked.name} cannot read an input of length {padded.shape[1]}: {type(error).__name__}:"
                f" {' '.join(str(error).split())[:150]}. Choose an encoder that the README lists."
            ) from error
        if states is None or len(states) != self.home.layers + 1:
            raise EncoderError(
                f"{self.asked.name} gives {len(states or ())} states per input where {self.home.layers} layers have"
                f" {self.home.layers + 1}; choose an encoder that the README lists."
            )
        if self.asked.layer != ALL:
            return states[self.number].float()
        if len({x.shape for x in states}) > 1:
            raise EncoderError(f"The layers of {self.asked.name} differ in size; use one of them, not {ALL!r}.")
        return torch.stack(states, dim=2).float()

    def _arguments(self, padded: Tensor, mask: Tensor | None) -> dict[str, Any]:
        """What the model is called with."""
        masked = {} if mask is None else {"attention_mask": mask}  # some models have no such argument
        return {self.model.main_input_name: padded, **masked}


def _alike(found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    """Whether states are the same but for the last digits of single precision."""
    return all(
        torch.allclose(x, y, rtol=1e-4, atol=min(1e-4, 1e-3 * float(y.abs().mean())))
        for x, y in zip(found, expected, strict=True)
    )


class SpeechEncoder(Encoder):
    """An encoder of sound: wav2vec 2.0 (Baevski et al. 2020), HuBERT (Hsu et al. 2021), WavLM (Chen et al. 2022), and
    the encoder of Whisper (Radford et al. 2023).

    Models with `feat_extract_norm="group"` (most base ones) normalise their first layer over the whole of time, padding
    included, and no mask undoes that. So only sounds of the same length share a batch there. Those with "layer" (most
    large ones) normalise each step alone and can be padded. Whisper reads windows of 30 s, silence at the end included;
    the states of that silence are dropped, and those of a longer sound joined.
    """  # noqa: D205

    kinds = SPEECH_KINDS

    def _prepare(self) -> None:
        self.prepare = SpeechInputs(self.asked)
        kind, rate = SPEECH_KINDS.get(self.home.config.model_type, EQUAL), self.prepare.rate
        self.most = round(MOST_SECONDS * rate)
        self.equal = kind == EQUAL or (kind == BY_NORM and self.home.config.feat_extract_norm != "layer")
        self.window = self.prepare.window
        stride = math.prod(stride for _, stride in self.prepare.strides)
        self.every = max(1, round(STEP_SECONDS * rate / stride))
        pace = self.every * stride / rate
        if abs(pace / STEP_SECONDS - 1) > 0.1:
            raise EncoderError(
                f"{self.asked.name} gives a state every {1000 * stride / rate:.0f} ms, of which no step of"
                f" {1000 * STEP_SECONDS:.0f} ms can be made; choose an encoder that the README lists."
            )

    def _trials(self) -> tuple[Tensor, Tensor]:
        noise = np.random.default_rng(0).normal(scale=0.1, size=2 * self.prepare.rate).astype(np.float32)
        return self.prepare(noise, self.prepare.rate), self.prepare(noise[: len(noise) // 3], self.prepare.rate)

    def steps(self, length: int) -> int:
        """How many hidden states a sound has: one after each stride, while a whole kernel fits."""
        for kernel, stride in self.prepare.strides:
            length = (length - kernel) // stride + 1
        return length

    def vectors(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Hidden states averaged to steps of `STEP_SECONDS`, (steps, ..., width) each: the pace of the default frames.

        Args:
            inputs: What `prepare` returns, each.
        """
        return [average(states, self.every) for states in self.states(inputs)]

    def _arguments(self, padded: Tensor, mask: Tensor | None) -> dict[str, Any]:
        if self.window is None:
            return super()._arguments(padded, mask)
        return {"input_features": self.prepare.mels(padded).to(self.device)}


def average(states: Tensor, every: int) -> Tensor:
    """Mean of every so many states, (time, ...) to (ceil(time / every), ...); the last mean may be of fewer."""
    return torch.stack([part.mean(0) for part in states.split(every)])


class SpeechInputs:
    """From a waveform to what an encoder of speech reads; needs no weights.

    Attributes:
        rate: Samples per second.
        strides: Kernel and stride of each convolution, as if they all read one after the other.
        window: Samples that are read at a time, by Whisper; None where all are.
    """

    def __init__(self, asked: Pretrained) -> None:
        home = asked.home()
        config = home.config
        self.whisper = config.model_type == "whisper"
        if not _reads_sound(config):
            raise EncoderError(f"{asked.name} does not read waveforms; choose one like microsoft/wavlm-base-plus.")
        self.extractor = load_extractor(home)
        wants = "input_features" if self.whisper else "input_values"
        if wants not in self.extractor.model_input_names:
            raise EncoderError(f"The feature extractor of {asked.name} is that of another kind of encoder; restore it.")
        settings = extractor_settings(home)
        missing = {"sampling_rate", "feature_size" if self.whisper else "do_normalize"} - set(settings)
        rate = settings.get("sampling_rate")
        if missing or not isinstance(rate, int) or rate < 1:
            problem = f"does not tell {min(missing)}" if missing else f"tells a sampling_rate of {rate}"
            raise EncoderError(
                f"The feature extractor of {asked.name} {problem}, and encoders differ in it; restore its"
                f" {EXTRACTORS[0]}."
            )
        self.rate = rate
        self.window: int | None = None
        if self.whisper:
            if self.extractor.feature_size != config.num_mel_bins:
                raise EncoderError(
                    f"The feature extractor of {asked.name} makes {self.extractor.feature_size} bands of sound, and the"
                    f" encoder reads {config.num_mel_bins}; restore its {EXTRACTORS[0]}."
                )
            state = 2 * self.extractor.hop_length
            self.strides = [(state, state)]
            self.window = config.max_source_positions * state
        else:
            squeeze = getattr(config, "squeeze_factor", 1)  # SEW: what follows the convolutions sees every other one
            self.strides = [*zip(config.conv_kernel, config.conv_stride, strict=True), (squeeze, squeeze)]
        if min(size for pair in self.strides for size in pair) < 1:
            raise EncoderError(f"{asked.name} has a kernel or stride below 1; restore its files, or choose another.")

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
        for kernel, stride in self.strides[::-1]:
            shortest = (shortest - 1) * stride + kernel
        sound = nn.functional.pad(sound, (0, max(0, shortest - len(sound))))
        if self.whisper:  # its bands are made window by window
            return sound
        ready = self.extractor(sound.numpy(), sampling_rate=self.rate, return_tensors="np")
        return torch.as_tensor(ready["input_values"][0], dtype=torch.float32)

    def mels(self, sounds: Tensor) -> Tensor:
        """Whisper's logarithmic bands, (batch, samples) to (batch, bands, frames); silence fills the window."""
        waves = list(sounds.detach().cpu().numpy())
        ready = self.extractor(waves, sampling_rate=self.rate, max_length=self.window, return_tensors="np")
        return torch.as_tensor(ready["input_features"], dtype=torch.float32)


def _reads_sound(config: Any) -> bool:
    strides = (getattr(config, "conv_kernel", None), getattr(config, "conv_stride", None))
    return config.model_type == "whisper" or all(isinstance(x, (list, tuple)) and x for x in strides)


class TextEncoder(Encoder):
    """An encoder of texts: BERT (Devlin et al. 2019), RoBERTa (Liu et al. 2019) and their like."""

    most = MOST_PIECES
    kinds = TEXT_KINDS

    def _prepare(self) -> None:
        self.prepare = TextInputs(self.asked)
        self.padding = self.prepare.tokenizer.pad_token_id or 0
        self.equal = TEXT_KINDS.get(self.home.config.model_type) == EQUAL

    def _trials(self) -> tuple[Tensor, Tensor]:
        return self.prepare(f"{PROBE} {PROBE}")[0], self.prepare(PROBE)[0]

    def _probe(self) -> None:
        name = self.asked.name
        if self.model.main_input_name != "input_ids":
            raise EncoderError(f"{name} reads {self.model.main_input_name}, not text; choose one like roberta-base.")
        rows, pieces = self.model.get_input_embeddings(), self.prepare.tokenizer.get_vocab()
        known = getattr(rows, "num_embeddings", self.home.config.vocab_size)
        if beyond := [piece for piece, number in pieces.items() if number >= known]:
            raise EncoderError(
                f"The tokenizer of {name} has {len(beyond)} pieces, such as {beyond[0]!r}, for which the encoder has no"
                " embedding. Resize its embedding and train it, or restore the tokenizer that it was trained with."
            )
        super()._probe()

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
        if _reads_sound(home.config):
            raise EncoderError(f"{asked.name} does not read text; choose one like roberta-base.")
        self.tokenizer = load_tokenizer(home)
        if not self.tokenizer.is_fast:
            raise EncoderError(f"The tokenizer of {asked.name} does not say where its pieces stand; choose another.")
        names = ("cls", "sep", "bos", "eos", "pad")
        ids = {getattr(self.tokenizer, f"{name}_token_id") for name in names} - {None}
        self.special = torch.tensor(sorted(ids), dtype=torch.long)
        positions = getattr(home.config, "max_position_embeddings", None) or 0
        first = max(2, (getattr(home.config, "pad_token_id", None) or 0) + 1)  # RoBERTa's begin behind its padding
        room = positions - (first if first < positions else 2) if positions > 2 else math.inf
        self.limit = int(min(self.tokenizer.model_max_length, room, 2**31 - 1))
        pieces = self(PROBE)[0]
        unknown = torch.isin(pieces, self.special) | (pieces == self.tokenizer.unk_token_id)
        count = len(pieces) - int(torch.isin(pieces, self.special).sum())
        if 2 * int((~unknown).sum()) <= count:
            raise EncoderError(
                f"The tokenizer of {asked.name} knows {int((~unknown).sum())} of the {count} pieces of"
                f" {PROBE!r}, so it is not whole, or of another language. Restore its files, or choose another."
            )

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
