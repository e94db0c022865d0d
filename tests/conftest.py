"""What all tests share: a quiet, offline process, and tiny base models of random weights."""

import os

from flows.environment import TELEMETRY_OFF

os.environ.update(TELEMETRY_OFF)
os.environ.update(
    {
        "HF_HUB_OFFLINE": "1",
        "TUNESMITH_QUIET": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
        # In the commands that are started, too: their threads would wait for one another's turn
        # on cores that the other tests use.
        "OMP_NUM_THREADS": "1",
    }
)

import pytest
from hypothesis import HealthCheck, settings

from finetuning.imports import shun_broken_torchvision

shun_broken_torchvision()  # the tests import transformers themselves

# How many inputs each test of tests/fuzzing/ draws: always the same few here, others each time in
# `make fuzz`.
settings.register_profile(
    "test",
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.large_base_example,
    ],
)
settings.register_profile(
    "fuzz", settings.get_profile("test"), max_examples=1200, derandomize=False, print_blob=True
)
settings.load_profile("test")

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
WORDS = [
    "a",
    "an",
    "the",
    "of",
    "and",
    "it",
    "was",
    "is",
    "not",
    "very",
    "i",
    "we",
    "this",
    "that",
    "good",
    "great",
    "fine",
    "superb",
    "bad",
    "poor",
    "awful",
    "dull",
    "film",
    "plot",
    "cast",
    "music",
    "story",
    "book",
    "red",
    "green",
    "blue",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    ".",
    ",",
    "!",
    "?",
]
PIECES = ("##s", "##ly", "##er", *"abcdefghijklmnopqrstuvwxyz")
LONGEST = 64  # tokens that the tiny models have positions for


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Torch on one thread, so that sums are added in the same order everywhere."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_environment():
    """What a test, or MLflow in it, puts into the environment ends with the test."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def own_dvc(tmp_path_factory, monkeypatch):
    """Keeps DVC and git away from the settings and caches of whoever runs the tests."""
    place = tmp_path_factory.mktemp("dvc")
    for name in ("DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR", "DVC_SITE_CACHE_DIR"):
        monkeypatch.setenv(name, str(place / name))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(place.parent))


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory):
    """MLflow's database with all its tables and no model: to be copied, making one takes long."""
    import mlflow

    file = tmp_path_factory.mktemp("registry") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{file}").search_registered_models()
    return file


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory):
    """A base model folder: BERT with 2 layers of width 32, random weights, WordPiece tokenizer."""
    import torch
    from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordPiece
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = {
        token: number for number, token in enumerate(dict.fromkeys((*SPECIAL, *WORDS, *PIECES)))
    }
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    folder = tmp_path_factory.mktemp("bert")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=LONGEST,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    ).save_pretrained(folder)
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=LONGEST,
        initializer_range=0.2,
    )
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def gpt2_folder(tmp_path_factory):
    """A base model folder: GPT-2 with 2 layers of width 32 and a WordLevel tokenizer.

    Like GPT-2's own, the tokenizer has no padding token and adds no token around a text.
    """
    import torch
    from tokenizers import Tokenizer, normalizers, pre_tokenizers
    from tokenizers.models import WordLevel
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    vocabulary = {token: number for number, token in enumerate((*WORDS, "<unk>", "<|endoftext|>"))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path_factory.mktemp("gpt2")
    end = vocabulary["<|endoftext|>"]
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        model_max_length=LONGEST,
    ).save_pretrained(folder)
    torch.manual_seed(7)
    config = GPT2Config(
        vocab_size=len(vocabulary),
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=LONGEST,
        bos_token_id=end,
        eos_token_id=end,
        initializer_range=0.2,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory):
    """A base model folder: Llama with 2 layers of width 32, its head not tied, WordLevel tokenizer.

    The tokenizer puts <s> before a text, as Llama's does, and has no padding token.
    """
    import torch
    from tokenizers import Tokenizer, normalizers, pre_tokenizers, processors
    from tokenizers.models import WordLevel
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {token: number for number, token in enumerate(("<unk>", "<s>", "</s>", *WORDS))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    folder = tmp_path_factory.mktemp("llama")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=LONGEST,
    ).save_pretrained(folder)
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        max_position_embeddings=LONGEST,
        bos_token_id=1,
        eos_token_id=2,
        tie_word_embeddings=False,
        initializer_range=0.2,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder
