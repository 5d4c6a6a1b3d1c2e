"""Three hundred things that go wrong: flags, files, folders and environments."""

from __future__ import annotations

from cfg.schema import Config

import dataclasses
import typing
from collections.abc import Iterator

from bad_files import data_files, run_files, written
from trial_case import COLLECT, CROSSRES, DRAW, EXPERIMENT, EXPORT, PREDICT, PROFILER, Case

# ----- flags --------------------------------------------------------------------------------------


def numbers(schema: type = Config, prefix: str = "") -> Iterator[str]:
    """The flags whose value is a number in a range."""
    for known in dataclasses.fields(schema):
        if dataclasses.is_dataclass(known.default_factory):
            yield from numbers(known.default_factory, f"{prefix}{known.name}.")
        elif "range" in known.metadata:
            yield prefix + known.name


def words(schema: type = Config, prefix: str = "") -> Iterator[str]:
    """The flags whose value is yes or no, or one of a few words."""
    types = typing.get_type_hints(schema)
    for known in dataclasses.fields(schema):
        if dataclasses.is_dataclass(known.default_factory):
            yield from words(known.default_factory, f"{prefix}{known.name}.")
        elif "choices" in known.metadata or types[known.name] is bool:
            yield prefix + known.name


TYPED = """
train.lerning_rate=1 lr=0.1 kernel_size=5 conv.kernel_size=5 epochs=3 ~train ~train.lr
train.lr=${nope} train.lr=${train} dataset=cifar10 dataset=Nothing dataset= kernel.type=Siren
net.type=VGG conv.type=Flex mask.type=box train.optimizer=LBFGS train.scheduler=step
train.augment=more net.norm=GroupNorm net.nonlinearity=tanh +experiment=nothing experiment=digits
+experiment= conv.horizon=4 conv.horizon=-3 conv.horizon=0 conv.horizon=1000001 conv.horizon=huge
conv.horizon=[3,5,7] conv.padding=-1 conv.padding=most conv.stride=0 conv.stride=[1,2,3]
net.block_width_factors=[nan,1] net.block_width_factors=[1.0] net.block_width_factors=1
net.no_hidden=100000000 kernel.no_hidden=10000000 kernel.no_layers=1000000 mask.init_value=wide
train.epochs=1.5 train.epochs=1,2 train.batch_size= train.lr=1e-60 seed=-2 seed=99999999999999
dataset_params.val_fraction=1 dataset_params.sr_train=3 dataset_params.drop_rate=50
dataset_params.permuted=True dataset_params.mfcc=True dataset_params.lengths=True
dataset_params.resize=8 dataset_params.transforms=[nothing] cross_res.resize=0,0
cross_res.resize=4x cross_res.blur=True,False pretrained=True pretrained_wandb=True
pretrained_params.filepath=x=y=z train.resume=/nonexistent --multiruns -x --cfg --config-name=x
hydra/launcher=nothing hydra/sweeper=optuna hydra.run.dir= summary=[3] summary=[0,1,8,8]
profile.mode=both device=tpu device=cuda:9 train.scheduler_params.decay_steps=[-1]
train.scheduler=plateau,none train.early_stop=3,4 train={lr:0.1} train=0.1 net=[1] =3 train.lr
'train.lr = 0.1' \u00e9=1 dataset=package.module:Name dataset=os:path
""".split()


def flags() -> Iterator[Case]:
    for flag in numbers():
        for value in ("nan", "-7.5", "word"):
            yield Case("flag", EXPERIMENT, [f"{flag}={value}"])
    for flag in words():
        yield Case("flag", EXPERIMENT, [f"{flag}=perhaps"])
    for typed in TYPED:
        yield Case("flag", EXPERIMENT, [typed])
    yield Case("flag", EXPERIMENT, ["train.lr=0.1", "--multirun", "seed=1", "-m", "x"])
    yield Case("flag", CROSSRES, [])
    yield Case("flag", CROSSRES, ["dataset=sDigits", "cross_res.source_res=8"])
    for flag in ("profile.data_shape=[1,2,3]", "train.compile=True", "profile.n_batches=0"):
        yield Case("flag", PROFILER, [flag])
    for program in (PREDICT, DRAW, EXPORT):
        yield Case("flag", program, [])
        yield Case("flag", program, ["checkpoint"])
        yield Case("flag", program, ["checkpont=x"])
        yield Case("flag", program, ["checkpoint=/nonexistent"])


# ----- folders ------------------------------------------------------------------------------------

FOLDERS = """
hydra.run.dir=/dev/null/run hydra.run.dir=/proc/run hydra.run.dir={here}/file/run
hydra.run.dir={here}/file hydra.run.dir={run} train.resume={here} train.resume={here}/file
train.resume={here}/nothing train.resume=/dev/null wandb.dir=/proc/x wandb.dir={here}/file
dataset_params.root={here}/file dataset_params.root=/proc/x
pretrained_params.filepath={here} pretrained_params.filepath=/dev/null
""".split()


def folders() -> Iterator[Case]:
    for flag in FOLDERS:
        harm, more = written("file", "a file"), []
        if flag.startswith("pretrained"):
            more = ["pretrained=True"]
        if flag.startswith("dataset"):
            more = ["dataset=MNIST"]
        if flag.startswith("wandb"):
            more = ["debug=False"]
        yield Case("folder", EXPERIMENT, [flag, *more], harm)
    yield Case("folder", EXPERIMENT, ["hydra.run.dir={here}/" + "x" * 300])
    for program in (CROSSRES, PROFILER):
        yield Case("folder", program, ["train.resume={run}", "cross_res.source_res=8"])
        yield Case("folder", program, ["hydra.run.dir={run}", "cross_res.source_res=8"])
    for kind in ("ImageFolder", "Arrays", "TimeSeries"):
        yield Case("folder", EXPERIMENT, [f"dataset={kind}"])
        yield Case("folder", EXPERIMENT, [f"dataset={kind}", "dataset_params.root={here}/none"])
        yield Case("folder", EXPERIMENT, [f"dataset={kind}", "dataset_params.root={here}"])
    yield Case("folder", PROFILER, ["profile.directory={run}"])
    yield Case("folder", PROFILER, ["profile.directory=/proc/x"])
    yield Case("folder", PREDICT, ["checkpoint={here}", "input={here}"])
    yield Case("folder", PREDICT, ["checkpoint={run}", "input={here}/none"])
    yield Case("folder", PREDICT, ["checkpoint={run}", "input={run}/best.pt"])
    yield Case("folder", DRAW, ["checkpoint={run}", "kernels=/proc/x.png"])
    yield Case("folder", DRAW, ["checkpoint={run}", "kernels={here}/x.gif"])
    yield Case("folder", EXPORT, ["checkpoint={run}", "output=/proc/x.onnx"])
    yield Case("folder", COLLECT, ["{here}/none"])


# ----- environment --------------------------------------------------------------------------------

ENVIRONMENTS = [
    {"RANK": "x"},
    {"RANK": "0", "WORLD_SIZE": "x"},
    {"RANK": "0", "WORLD_SIZE": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "29999"},
    {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "no.invalid", "MASTER_PORT": "29997"},
    {"RANK": "5", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "29998"},
    {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "99999999"},
    {"LOCAL_RANK": "-1"},
    {"LOCAL_WORLD_SIZE": "many"},
    {"LOCAL_WORLD_SIZE": "0"},
    {"MPLBACKEND": "x"},
    {"WANDB_MODE": "sometimes"},
    {"TMPDIR": "/nonexistent"},
    {"HOME": "/nonexistent"},
    {"HOME": ""},
    {"LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"},
    {"COLUMNS": "x"},
    {"HYDRA_FULL_ERROR": "x"},
    {"CUDA_VISIBLE_DEVICES": "x"},
    {"FLEXCONV_DATA": "/nonexistent"},
    {"GIT_DIR": "/nonexistent"},
    {"PATH": ""},
]


def environments() -> Iterator[Case]:
    for variables in ENVIRONMENTS:
        yield Case("environment", EXPERIMENT, [], environment=variables)


def all_cases() -> list[Case]:
    return [*flags(), *run_files(), *data_files(), *folders(), *environments()]
