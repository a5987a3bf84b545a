"""Checkpoints as `transformers` saves them, on the hub or in a folder: found, checked and loaded.

Where a file is missing, the library often builds something that looks whole: an empty tokenizer, random layers. So what
a part needs is looked for among the files first, and downloaded if it is not there; only then is the part loaded.
Weights are read from safetensors alone, since nothing is unpickled here, and no code of a checkpoint's own is run.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from importlib.util import find_spec
from logging import ERROR, getLogger
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from torch import nn

from mer_lib.cache import digest

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
EXTRACTORS = ("preprocessor_config.json", "processor_config.json")
SENTENCEPIECE = ("spiece.model", "sentencepiece.bpe.model", "spm.model", "sentencepiece.model", "tokenizer.model")
VOCABULARIES = (("tokenizer.json",), ("vocab.txt",), ("merges.txt", "vocab.json"), *((n,) for n in SENTENCEPIECE))
"""Files that hold what a tokenizer knows: any of these sets is one."""

# In the order of download. What makes a set whole comes last, so that a set that is there was downloaded to its end.
_SMALL = (
    "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "entity_vocab.json",
    "merges.txt", *SENTENCEPIECE, "vocab.txt", "vocab.json", "tokenizer.json", *EXTRACTORS[::-1],
)  # fmt: skip

_UNUSED = ("pooler", "masked_spec_embed")  # parts whose weights change no hidden state that is used here
_CONVERTED_BY, _CONVERTED = "SFconvertbot", "Adding `safetensors` variant of this model"  # as the hub's own robot does


class EncoderError(ValueError):
    """A pretrained encoder that cannot be used; the message says what is wrong, where, and what to do."""


class Home(NamedTuple):
    """Where a pretrained encoder comes from, and its size.

    Attributes:
        name: As it was asked for.
        mark: Changes whenever its files do.
        commit: Of a model from the hub; None for a folder.
        folder: Where its files are on this machine.
        config: Its configuration.
    """

    name: str
    mark: str
    commit: str | None
    folder: Path
    config: Any

    @property
    def layers(self) -> int:
        """Number of layers."""
        return int(self.config.encoder_layers if self.config.model_type == "whisper" else self.config.num_hidden_layers)

    @property
    def width(self) -> int:
        """Numbers per hidden state."""
        return int(self.config.hidden_size)

    @property
    def where(self) -> str:
        """Where a file is missing, for messages."""
        return "on this machine, and could not be downloaded" if self.commit else "in that folder"


def find(name: str, revision: str | None) -> Home:
    """Find a checkpoint on this machine or on the hub, with all its small files, and read its configuration.

    Raises:
        EncoderError: If there is none, or it is of a kind that cannot be used.
    """
    folder = Path(name).expanduser()
    commit = None
    if not folder.is_dir():
        folder = _snapshot(name, revision)
        commit = folder.name
        if not has_tokenizer(folder) and not has_extractor(folder):
            _download(name, commit, _SMALL)
    if (folder / "adapter_config.json").exists():
        raise EncoderError(f"{name} is an adapter, not a whole model; merge it into its base model and save that.")
    check_pointers(name, [folder / file for file in ("config.json", *_SMALL)])
    home = Home(name, "", commit, folder, None)
    config = load(home, "AutoConfig", "configuration")
    if getattr(config, "quantization_config", None):
        raise EncoderError(f"{name} is quantised; choose the same encoder in full precision.")
    content = contents(folder, _SMALL if commit else None)
    return home._replace(config=config, mark=f"{name} {commit} {content}" if commit else content)


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds what a tokenizer knows."""
    return any(all((folder / name).exists() for name in names) for names in VOCABULARIES)


def has_extractor(folder: Path) -> bool:
    """Whether a folder says how sounds are prepared."""
    return any((folder / name).exists() for name in EXTRACTORS)


def check_pointers(name: str, files: Sequence[Path]) -> None:
    """Raise an EncoderError if one of some files is only what Git LFS leaves in its place."""
    for file in files:
        if file.is_file() and file.stat().st_size < 1024 and file.read_bytes().startswith(b"version https://git-lfs"):
            raise EncoderError(
                f"{file.name} of {name} is a Git LFS pointer, not the file itself; run `git lfs pull` in its folder."
            )


def load(home: Home, kind: str, what: str, folder: Path | None = None, **options: Any) -> Any:
    """Load a part of a checkpoint by a class of `transformers`, without code of the checkpoint's own.

    Raises:
        EncoderError: If it is missing or cannot be read.
    """
    try:
        with quietly():
            import transformers

            options |= {"local_files_only": True, "trust_remote_code": False}
            return attrgetter(kind)(transformers).from_pretrained(str(folder or home.folder), **options)
    except Exception as error:  # whatever a damaged or foreign file makes the library stumble over
        problem = " ".join(str(error).split())
    if "trust_remote_code" in problem:
        raise EncoderError(f"The {what} of {home.name} needs code of its own, which is not run here; choose another.")
    raise EncoderError(
        f"The {what} of {home.name} is missing {home.where}, or cannot be read: {problem[:150]}... Restore it, or"
        " choose another."
    )


def load_tokenizer(home: Home) -> Any:
    """Load a tokenizer that is really there.

    Raises:
        EncoderError: If its files are missing or cannot be read.
    """
    if home.commit and not has_tokenizer(home.folder):
        _download(home.name, home.commit, _SMALL)
    if not has_tokenizer(home.folder):
        raise EncoderError(
            f"The tokenizer of {home.name} is missing {home.where}, or cannot be read: there is no file such as"
            " tokenizer.json or vocab.txt. Restore it, or choose another."
        )
    others = any(
        all((home.folder / n).exists() for n in names) for names in VOCABULARIES if names[0] not in SENTENCEPIECE
    )
    if not others and not (_installed("sentencepiece") and _installed("google.protobuf")):
        raise EncoderError(
            f"The tokenizer of {home.name} is a SentencePiece model; `pip install sentencepiece protobuf` to read it."
        )
    return load(home, "AutoTokenizer", "tokenizer")


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # of the package around it
        return False


def load_extractor(home: Home) -> Any:
    """Load what says how sounds are prepared; there is no default, since encoders differ.

    Raises:
        EncoderError: If its file is missing or cannot be read.
    """
    if home.commit and not has_extractor(home.folder):
        _download(home.name, home.commit, EXTRACTORS)
    if not has_extractor(home.folder):
        raise EncoderError(
            f"The feature extractor of {home.name} is missing {home.where}: there is no {EXTRACTORS[0]}, which says"
            " whether sounds are normalised. Restore it, or choose another."
        )
    return load(home, "AutoFeatureExtractor", "feature extractor")


def extractor_settings(home: Home) -> dict[str, Any]:
    """What the file of a feature extractor says itself; the library fills in the rest with defaults in silence."""
    found: dict[str, Any] = {}
    for name in EXTRACTORS[::-1]:  # a processor's file may hold the extractor's settings as a part of its own
        if (home.folder / name).exists():
            try:
                settings = json.loads((home.folder / name).read_text(encoding="utf-8"))
                found |= settings.get("feature_extractor", settings)
            except (ValueError, AttributeError, TypeError):
                raise EncoderError(f"{name} of {home.name} cannot be read; restore it, or choose another.") from None
    return found


def load_model(home: Home) -> nn.Module:
    """Load the weights of an encoder, in full precision, for evaluation. Of Whisper the decoder is left out.

    Raises:
        EncoderError: If they cannot be read, some would be left random, or some are not finite.
    """
    folder, whisper = _weights(home), home.config.model_type == "whisper"
    alone = whisper and "conv1.weight" in _saved(home, folder)  # the encoder was saved without the rest
    kind = "models.whisper.modeling_whisper.WhisperEncoder" if alone else "AutoModel"
    model, info = load(home, kind, "model", folder, config=home.config, use_safetensors=True, output_loading_info=True)
    prefix = ""
    if whisper and not alone:
        model, prefix = model.get_encoder(), "encoder."
    missing = {name for name in model.state_dict() if prefix + name in info["missing_keys"] and _is_used(name)}
    if missing:
        raise EncoderError(
            f"{home.name} was saved without {len(missing)} of its weights, such as {min(missing)}; they would"
            " be random. Save the whole encoder, or choose another."
        )
    model = model.float().eval()
    broken = [name for name, weights in model.named_parameters() if _is_used(name) and not weights.isfinite().all()]
    if broken:
        raise EncoderError(
            f"Weights of {home.name} are not finite, such as {broken[0]}; restore them, or choose another."
        )
    return model


def _is_used(name: str) -> bool:
    return not set(_UNUSED) & set(name.split("."))


def _weights(home: Home) -> Path:
    """The folder that holds the weights; they are downloaded if they are missing."""
    if home.commit:
        for name in (WEIGHTS, INDEX):
            if not _shards(home, home.folder):
                _download(home.name, home.commit, (name,))
        _download(home.name, home.commit, _shards(home, home.folder))
    folder = home.folder
    if home.commit and not _shards(home, folder):
        folder = _converted(home) or folder
    shards = _shards(home, folder)
    missing = [name for name in shards if not (folder / name).exists()]
    if shards and not missing:
        check_pointers(home.name, [folder / name for name in shards])
        return folder
    if not shards and any(home.folder.glob("pytorch_model*.bin")):
        raise EncoderError(
            f"The weights of {home.name} are pickled, and nothing is unpickled here; load them where you trust them"
            " with transformers' AutoModel.from_pretrained(..., use_safetensors=False), and use what its"
            " save_pretrained writes."
        )
    raise EncoderError(
        f"The model of {home.name} is missing {home.where}, or cannot be read: there is no {(missing or [WEIGHTS])[0]}."
        " Restore it, or choose another."
    )


def _shards(home: Home, folder: Path) -> list[str]:
    """Names of the files that hold the weights, as far as the folder tells."""
    if (folder / WEIGHTS).exists():
        return [WEIGHTS]
    if not (folder / INDEX).exists():
        return []
    check_pointers(home.name, [folder / INDEX])
    try:
        names = sorted(set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values()))
        if all(name and Path(name).name == name for name in names):  # files beside the index, as its digest has them
            return names
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise EncoderError(f"{INDEX} of {home.name} cannot be read; restore it, or choose another encoder.")


def _saved(home: Home, folder: Path) -> set[str]:
    """Names of the weights."""
    try:
        names: set[str] = set()
        for shard in _shards(home, folder):
            with safe_open(folder / shard, framework="numpy") as file:
                names |= set(file.keys())
    except SafetensorError as error:
        raise EncoderError(
            f"The model of {home.name} is missing {home.where}, or cannot be read: {error}. Restore it, or choose"
            " another."
        ) from None
    return names


def _converted(home: Home) -> Path | None:
    """The folder of the same weights as safetensors, where the hub's robot offers them for a checkpoint without any."""
    from huggingface_hub import get_repo_discussions, hf_hub_download

    try:
        with quietly():
            offers = [
                offer.num
                for offer in get_repo_discussions(home.name, author=_CONVERTED_BY, discussion_type="pull_request")
                if offer.author == _CONVERTED_BY and offer.title == _CONVERTED
            ]
            return Path(hf_hub_download(home.name, WEIGHTS, revision=f"refs/pr/{offers[0]}")).parent if offers else None
    except Exception:  # no network, or no such offer
        return None


def _snapshot(name: str, revision: str | None) -> Path:
    """The folder of a model of the hub at one commit: the one on this machine, or else the newest.

    What is here is not looked up again, so that results stay as they are and no network is needed.
    """
    for here in (True, False):
        try:
            with quietly():
                from transformers.utils import cached_file

                found = cached_file(name, "config.json", revision=revision or "main", local_files_only=here)
        except (OSError, ValueError):
            continue
        return Path(str(found)).parent
    raise EncoderError(
        f"There is no model {name!r} on this machine, and it could not be downloaded. Check its name and the"
        " connection, or give the folder of a saved model."
    )


def _download(name: str, commit: str, files: Sequence[str]) -> None:
    """Download those of some files that the hub has and this machine has not, until the connection fails."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.utils import EntryNotFoundError, LocalEntryNotFoundError

    for file in files:
        try:
            with quietly():
                hf_hub_download(name, file, revision=commit)
        except LocalEntryNotFoundError:
            return
        except EntryNotFoundError:
            continue
        except Exception:  # whatever the network does; what is missing is then told
            return


def contents(folder: Path, names: Sequence[str] | None = None) -> str:
    """A digest of the files of a saved model, or of those of some names."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    chosen = [path for path in files if names is None or path.name in names]
    return digest(*(f"{p.name} {_file_digest(p, p.stat().st_size, p.stat().st_mtime_ns)}" for p in chosen))


@lru_cache(maxsize=64)
def _file_digest(path: Path, size: int, changed: int) -> str:
    """Digest of a file, read again only after a change."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def quietly() -> Iterator[None]:
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
