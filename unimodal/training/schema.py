"""Types of the config, where a wrong one would pass silently: `optimizer.lr=abc` fails before any loading."""

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, OmegaConf

from unimodal.training import presets


@dataclass
class LoaderConfig:
    """How batches are made."""

    batch_size: int = 64
    eval_batch_size: int | None = None
    num_workers: int = 0
    pin_memory: bool = False
    balanced: bool = False
    max_tokens: int | None = None
    pack: bool = False
    max_row_tokens: int | None = None


@dataclass
class PretrainConfig:
    """Masked pretraining before the run; None: as in the run."""

    epochs: int = 0
    path: Any = None
    train_fraction: float | None = None
    lr: float | None = None
    batch_size: int | None = None
    task: Any = None
    callbacks: Any = None


@dataclass
class TrainConfig:
    """The top level of train.yaml. What has a `_target_` is typed by the class that it names."""

    seed: int = 0
    output: str = MISSING
    compile: bool = False
    baseline: bool = True
    min_steps: int = 0
    debug: str | None = None
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    task: Any = None
    tokenizer: Any = None
    backbone: Any = None
    block: Any = None
    data: Any = None
    augment: Any = None
    optimizer: Any = None
    scheduler: Any = None
    pretrained: Any = None
    resume_allow: list[str] = field(default_factory=list)
    keep_head: bool = False
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    beside: Any = None
    mix: Any = None
    share: str = "backbone"
    batches: str = "one_source"
    temperature: float = 1.0
    finetune: Any = None
    trainer: Any = None
    callbacks: Any = None
    logger: Any = None


@dataclass
class EvaluateLoaderConfig:
    """What evaluation may change; None: as in the run."""

    eval_batch_size: int | None = None
    num_workers: int | None = None


@dataclass
class PredictDecodingConfig:
    """How a captioner writes; None: as in the run."""

    num_beams: int | None = None
    length_penalty: float | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None


@dataclass
class EvaluateDecodingConfig(PredictDecodingConfig):
    """Predict has the length at the top level, where it is that of a language model too."""

    max_new_tokens: int | None = None


@dataclass
class EvaluateConfig:
    """The top level of evaluate.yaml."""

    checkpoint: str = MISSING
    only: str | None = None
    split: str = "val"
    zero_shot: bool = False
    class_names: list[str] | None = None
    templates: list[str] | None = None
    output: str | None = None
    loader: EvaluateLoaderConfig = field(default_factory=EvaluateLoaderConfig)
    decoding: EvaluateDecodingConfig = field(default_factory=EvaluateDecodingConfig)
    data: Any = None
    trainer: Any = None


@dataclass
class PredictConfig:
    """The top level of predict.yaml."""

    checkpoint: str = MISSING
    only: str | None = None
    inputs: Any = MISSING
    output: str | None = None
    embeddings: bool = False
    top_k: int = 3
    class_names: list[str] | None = None
    templates: list[str] | None = None
    max_new_tokens: int | None = None
    decoding: PredictDecodingConfig = field(default_factory=PredictDecodingConfig)
    seed: int = 0
    allow_outside_root: bool = False
    allow_missing: bool = False
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    columns: Any = None
    trainer: Any = None


@dataclass
class ExportConfig:
    """The top level of export.yaml."""

    checkpoint: str = MISSING
    output: str = MISSING
    format: str = "auto"
    only: str | None = None
    head: bool = True
    adapter: bool = False
    num_samples: int = 8
    num_metric_samples: int = 200
    push: str | None = None
    private: bool = True


@dataclass
class TrainerConfig:
    """Arguments of lightning.Trainer; `auto` is ours, for what follows from hardware or length."""

    _target_: str = "lightning.Trainer"
    accelerator: str = "auto"
    strategy: Any = "auto"
    devices: Any = 1
    num_nodes: int = 1
    precision: str = "auto"
    max_epochs: int | None = None
    min_epochs: int | None = None
    max_steps: int = -1
    min_steps: int | None = None
    max_time: str | None = None
    limit_train_batches: Any = None
    limit_val_batches: Any = None
    overfit_batches: Any = 0.0
    val_check_interval: Any = None
    check_val_every_n_epoch: Any = "auto"
    num_sanity_val_steps: int | None = None
    log_every_n_steps: int = 50
    accumulate_grad_batches: int = 1
    gradient_clip_val: float | None = None
    deterministic: bool | None = None
    benchmark: bool | None = None
    profiler: Any = None
    detect_anomaly: bool = False
    fast_dev_run: Any = False


@dataclass
class AdamWConfig:
    """Arguments of torch.optim.AdamW."""

    _target_: str = "torch.optim.AdamW"
    _partial_: bool = True
    lr: float = 1e-3
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])
    eps: float = 1e-8
    weight_decay: float = 0.0
    fused: bool = True


@dataclass
class MuonConfig(AdamWConfig):
    """Arguments of unimodal.training.muon.Muon."""

    _target_: str = "unimodal.training.muon.Muon"
    muon_lr: float = 0.02
    momentum: float = 0.95
    num_iterations: int = 5


@dataclass
class ScheduleConfig:
    """Warmup only."""

    _target_: str = MISSING
    _partial_: bool = True
    warmup: float = 0.0


@dataclass
class WSDConfig(ScheduleConfig):
    """Warmup, stable, decay."""

    decay: float = 0.0


def register() -> None:
    """Make known to Hydra the schemas, as the group `schema`, and what a defaults list may ask.

    `${if_equal:${block},classic,A,B}` is A where the block is classic, else B; there may be more such pairs
    before B. A dialect stands for an interpolation, and Hydra lets no such file choose a tokenizer; a pooling
    that it set would stand above one that is typed.
    """
    presets.install()
    OmegaConf.register_new_resolver("if_equal", _if_equal, replace=True)
    store = ConfigStore.instance()
    schemas = {
        "train": TrainConfig,
        "evaluate": EvaluateConfig,
        "predict": PredictConfig,
        "export": ExportConfig,
        "trainer": TrainerConfig,
        "adamw": AdamWConfig,
        "muon": MuonConfig,
        "cosine": ScheduleConfig,
        "wsd": WSDConfig,
    }
    for name, node in schemas.items():
        store.store(group="schema", name=name, node=node)


def _if_equal(value: str, *cases: str) -> str:
    *pairs, otherwise = cases
    return dict(zip(pairs[::2], pairs[1::2], strict=True)).get(value, otherwise)
