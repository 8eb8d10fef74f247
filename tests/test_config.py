"""Options: what composes, what is refused with which words, and which of them make another variant."""

from __future__ import annotations

import ast
import dataclasses
import pickle
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dabs_rq import protocol, registry
from dabs_rq.errors import MissingDataError, OptionError
from dabs_rq.run import Run, processes
from dabs_rq.run.compose import CONFIGS, Composed, choices, load_protocol, sources_of
from dabs_rq.run.compose import compose as compose_options
from dabs_rq.run.options import PATHS as PATH_OPTIONS
from dabs_rq.run.words import parse, to_words
from dabs_rq.spec import Tokens
from dabs_rq.typed import legal_values
from tests.quick import others_slow

EVERY = type(load_protocol("corrected"))
OPTIONS = protocol.option_fields(EVERY)
EVERY_METHOD = f"method={','.join(registry.method_names())}"
EVERY_DOMAIN = "table.columns=dabs2"  # of both published tables
SCALES, PROTOCOLS = tuple(choices("scale")), tuple(choices("protocol"))


def compose(words: Iterable[str] = ()) -> Composed:
    return compose_options(parse(words))


def variants(*words: str) -> tuple[bool, bool]:
    """Whether `words` make another variant: (of the checkpoint, of the result)."""
    composed = compose(words)
    return tuple(composed.variant(of_pretraining=of) != "default" for of in (True, False))  # type: ignore[return-value]


# ---- what composes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", registry.method_names())
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("scale", SCALES)
def test_every_method_scale_and_protocol_composes(method: str, protocol: str, scale: str, tmp_path: Path) -> None:
    run = Run.of([f"method={method}", f"scale={scale}", f"protocol={protocol}", f"data={tmp_path}"])
    options = run.options
    assert (options.scale.name, options.protocol.name, run.method.name) == (scale, protocol, method)
    assert isinstance(run.method.options, registry.method(method).options)
    for name, value in vars(options.protocol).items():
        assert value == getattr(load_protocol(protocol), name)
    assert options.transfer.probe == options.protocol.probe and options.transfer.features == options.protocol.features
    assert {run.composed.variant(of_pretraining=of) for of in (True, False)} == {"default"}


@pytest.mark.parametrize("domain", others_slow(registry.domain_names()))
def test_every_domain_composes_at_every_scale(
    domain: str, miniature: Callable[[str], Path], with_data: Callable[..., Path], tmp_path: Path
) -> None:
    runs = f"runs={with_data(tmp_path / 'runs', domain)}"
    for scale in SCALES:
        words = [f"domain={domain}", f"scale={scale}", f"data={miniature(domain)}", runs]
        if not registry.domain(domain).has_sources(sources_of(scale)):
            with pytest.raises(OptionError, match=f"domain '{domain}' has no set of sources '{scale}'"):
                Run.of(words).inputs  # noqa: B018
            continue
        run = Run.of(words)
        declared = run.inputs_of(registry.domain(domain))
        assert run.domain.name == domain
        for spec, own in zip(declared, run.inputs, strict=True):  # a vocabulary is that of the tokenizer that is there
            read = (
                {name: getattr(own, name) for name in ("vocabulary", "pad", "unused_ids", "shared_pad")}
                if isinstance(own, Tokens)
                else {}
            )
            assert own == dataclasses.replace(spec, **read)
        assert run.tasks == run.domain.tasks
    first = registry.domain(domain).tasks[0].name
    assert [task.name for task in run.of([f"domain={domain}", f"tasks=[{first}]"]).tasks] == [first]


def test_the_defaults_are_the_miniature_scale_the_corrected_protocol_and_rq() -> None:
    run = Run.of()
    assert (run.options.scale.name, run.options.protocol.name, run.method.name) == ("mini", "corrected", "rq")
    assert run.methods == ("none", "emix", "rq", "raw") and run.options.seeds == (0,) and run.options.data is None


def test_a_protocol_option_has_two_legal_values_in_the_two_protocols() -> None:
    for option in OPTIONS:
        both = option.metadata["published"], option.metadata["corrected"]
        assert both[0] != both[1] and set(both) <= set(legal_values(EVERY, option.name)), "else it is no difference"
    for name in PROTOCOLS:
        assert vars(load_protocol(name)) == {"name": name} | {one.name: one.metadata[name] for one in OPTIONS}


def test_both_scales_give_the_same_budgets() -> None:
    budgets = [yaml.safe_load((CONFIGS / "scale" / f"{name}.yaml").read_text()) for name in ("mini", "paper")]
    for group in ("pretrain", "transfer"):
        assert set(budgets[0][group]) == set(budgets[1][group])
    assert set(budgets[0]["encoders"]["transformer"]) == set(budgets[1]["encoders"]["transformer"])


def test_a_third_scale_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(CONFIGS, tmp_path / "configs")
    third = tmp_path / "configs/scale/tiny.yaml"
    third.write_text("inputs: mini\nneeds_real_data: false\npublished_compares: false\npretrain: {steps: 3}\n")
    monkeypatch.setattr("dabs_rq.run.compose.CONFIGS", tmp_path / "configs")
    run = Run.of(["scale=tiny", "domain=sensor"])
    assert run.options.pretrain.steps == 3 and run.inputs == registry.domain("sensor").inputs["mini"]
    assert run.composed.variant(of_pretraining=False) == "default" and run.places.folder("sensor").parent.name == "tiny"
    for text, message in (
        ("inputs: mini\n", "missing needs_real_data"),
        (third.read_text() + "steps: 3\n", "unknown steps"),
        (third.read_text().replace("steps", "stesp"), "unknown pretrain.stesp"),
        ("- a\n", "expected a mapping, found list"),
        ("a: [", "is not YAML"),
    ):
        third.write_text(text)
        with pytest.raises(OptionError, match=rf"tiny\.yaml.*{message}"):
            Run.of(["scale=tiny"])


def read_of_protocol() -> set[str]:
    """Every X in `protocol.X` or `something.protocol.X` of the code outside protocol.py, and those that are the default
    of another option."""
    found: set[str] = set()
    roots = (registry.PACKAGE, registry.PACKAGE.parent / "domains")
    for file in (file for root in roots for file in root.rglob("*.py") if file.name != "protocol.py"):
        text = file.read_text()
        found |= set(re.findall(r"protocol(?:\": |=)\"(\w+)\"", text))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value).split(".")[-1] == "protocol":
                found.add(node.attr)
    return found


def test_every_protocol_option_is_read_somewhere() -> None:
    assert not {option.name for option in OPTIONS} - read_of_protocol()


# ---- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("pretrain.stesp=3", "unknown option 'pretrain.stesp'. Did you mean 'pretrain.steps'?"),
        ("method.bin=4", "unknown option 'method.bin'. Did you mean 'method.bins'?"),
        ("protocol.gtsrb=track", "unknown option 'protocol.gtsrb'. Did you mean 'protocol.gtsrb_split'?"),
        ("scale=papr", "unknown scale 'papr'. Did you mean 'paper'? Known: mini, paper, small."),
        ("protocol=publised", "unknown protocol 'publised'. Did you mean 'published'? Known: corrected, published."),
        ("method=emixx", "unknown method 'emixx'. Did you mean 'emix'? Known: "),
        ("methods=[none,rqq]", "unknown method 'rqq'. Did you mean 'rq'?"),
        ("domains=[sensr]", "unknown domain 'sensr'. Did you mean 'sensor'?"),
        ("seeds=[]", "seeds is a list of at least 1; got []"),
        ("seeds=[1,1]", "seeds repeats a seed: 1, 1"),
        ("seeds=-1", "seeds is at least 0; got '-1'"),
        ("seeds=[0", "seeds: '[0' is not a list such as [a,b]"),
        ("method=[]", "method is empty"),
        ("tasks=[]", "tasks is empty; leave it out to choose all"),
        ("pretrain.batch_size=0", "pretrain.batch_size is at least 1; got '0'"),
        ("pretrain.lr=nan", "pretrain.lr is a finite number; got 'nan'"),
        ("pretrain.lr=0", "pretrain.lr is above 0; got '0'"),
        ("encoder.depth=-1", "encoder.depth is at least 1; got '-1'"),
        ("encoder.heads=0", "encoder.heads is at least 1"),
        ("encoder.dropout=1", "encoder.dropout is below 1"),
        ("encoder.pool=max", "encoder.pool is one of mean, class; got 'max'"),
        ("method.temperature=-1", "method.temperature is above 0; got '-1'"),
        ("method.bins=1", "method.bins is at least 2; got '1'"),
        ("method.spacing=even", "method.spacing is one of random, uniform; got 'even'"),
        ("transfer.max_examples=-5", "transfer.max_examples is at least 1; got '-5'"),
        ("scale=paper", "scale=paper needs the real data: give data=/root"),
        ("scale.name=paper", "scale.name follows from the choice: give scale=... instead"),
        ("protocol.name=mine", "protocol.name follows from the choice: give protocol=... instead"),
        ("scale={name:paper}", "unknown scale"),
        ("runs=null", "runs is a path; got None"),
        ("steps", "expected an option as key=value, such as domain=sensor; got 'steps'"),
        ("~method=3", "expected an option as key=value"),
        ("pretrain.steps=many", "pretrain.steps is a whole number; got 'many'"),
        ("pretrain.steps=1.5", "pretrain.steps is a whole number; got '1.5'"),
        ("encoder.width=null", "encoder.width is a whole number; got None"),
        ("loader.strict=perhaps", "loader.strict is true or false; got 'perhaps'"),
        ("loader.workers=many", "loader.workers is a number or auto; got 'many'"),
        ("loader.workers=-1", "loader.workers is at least 0; got '-1'"),
        ("loader.cache_gb=true", "loader.cache_gb is a number or auto; got 'true'"),
        ("method.bins=[1,2]", "method.bins"),
        ("protocol.probe=svm", "protocol.probe is one of adamw, lbfgs; got 'svm'"),
        ("protocol.pamap2_normalise=perhaps", "protocol.pamap2_normalise"),
        ("pretrain.steps=3,4", "pretrain.steps"),
    ],
)
def test_what_does_not_exist_or_fit_is_refused_in_words(word: str, message: str) -> None:
    with pytest.raises(OptionError) as error:
        Run.of([word])
    assert message in str(error.value)


def test_a_protocol_option_takes_its_legal_values_only() -> None:
    for column in PROTOCOLS:
        chosen = {option.name: option.metadata[column] for option in OPTIONS}
        given = [f"protocol.{name}={str(value).lower()}" for name, value in chosen.items()]
        options = compose([EVERY_METHOD, EVERY_DOMAIN, *given]).options
        assert vars(options.protocol) == {"name": "corrected"} | chosen
    for option in OPTIONS:
        with pytest.raises(OptionError, match=f"protocol.{option.name} is (one of .*|true or false); got 'nonsense'"):
            Run.of([EVERY_METHOD, EVERY_DOMAIN, f"protocol.{option.name}=nonsense"])


def test_an_option_of_a_domain_that_was_not_chosen_is_refused_with_its_owner() -> None:
    with pytest.raises(OptionError, match=r"protocol\.gtsrb_split belongs to domain images, which was not chosen"):
        Run.of(["domain=text", "protocol.gtsrb_split=image"])
    with pytest.raises(OptionError, match=r"unknown option 'method\.bins'"):
        Run.of(["method=none", "method.bins=4"])
    run = Run.of(["domain=images,text", "protocol.gtsrb_split=image"])
    assert run.replace(domain="images").composed.variant(of_pretraining=False) != "default"
    assert run.replace(domain="text").composed.variant(of_pretraining=False) == "default"


def test_another_tasks_domains_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"give one domain: domain=.*sensor"):
        _ = Run.of().domain
    with pytest.raises(OptionError, match=r"unknown domain 'sensors'. Did you mean 'sensor'\?"):
        _ = Run.of(["domain=sensors"]).domain
    with pytest.raises(OptionError, match=r"unknown task of domain 'sensor' 'pamap'. Did you mean 'pamap2'\?"):
        _ = Run.of(["domain=sensor", "tasks=[pamap]"]).tasks
    with pytest.raises(OptionError, match=r"give one method: method=none\|rq"):
        _ = Run.of(["method=none,rq"]).method
    with pytest.raises(MissingDataError, match=r"the data root .*/nowhere is not a folder"):
        Run.of([f"data={tmp_path / 'nowhere'}"])
    (tmp_path / "file").touch()
    with pytest.raises(MissingDataError, match=r"the data root .*/file is not a folder"):
        Run.of([f"data={tmp_path / 'file'}"])
    with pytest.raises(OptionError, match="unknown protocol 'both'"):
        load_protocol("both")


# ---- values ------------------------------------------------------------------------------------------------------

PATHS = ["/a=b/c", "with space ", 'it\'s "quoted"', "'quoted'", "'half", 'a,b,"c', "[list]", "{a: b}", "(x)", "a;b#c"]
PATHS += [
    "~/home",
    "back\\slash\\",
    "${seeds}",
    "a${b}c",
    "$HOME/x",
    "50%",
    "ü/日本",
    "true",
    "1e3",
    "a\\'b",
    "x:y@z",
    "-",
]


def test_paths_are_taken_as_they_are() -> None:
    for start in range(len(PATHS)):
        paths = dict(zip(PATH_OPTIONS, PATHS[start:] + PATHS[:start], strict=False))
        if start % 3 == 0:  # every path for some key, every key with many
            composed = compose([f"{key}={path}" for key, path in paths.items()])
            assert {key: getattr(composed.options, key) for key in paths} == {k: Path(v) for k, v in paths.items()}
            written = {key: str(Path(path)) for key, path in paths.items()}
            assert {key: composed.values[key] for key in paths} == written == composed.overridden
    for nothing in ("", "null"):
        options = compose([f"{key}={nothing}" for key in PATH_OPTIONS if key != "runs"]).options
        assert options.data is None and options.out is None and options.checkpoint is None


def test_odd_paths_can_be_used(tmp_path: Path) -> None:
    odd = tmp_path / "a=b, 'c' \"d\" ${e}"
    odd.mkdir()
    run = Run.of([f"data={odd}", f"runs={odd}", f"out={odd}"])
    assert run.root == run.places.runs == run.places.results == odd


@pytest.mark.parametrize("several", ["seeds=[0,1,2]", "seeds=0,1,2", "seeds=[0, 1, 2]", 'seeds=["0","1","2"]'])
def test_other_values_are_read_by_their_type(several: str) -> None:
    words = [several, "methods=[none]", "tasks=a,b", "pretrain.lr=3e-4", "pretrain.batch_size=null"]
    options = compose([*words, "transfer.strengths=[1,10]", "encoder.width=32", "loader.strict=true"]).options
    assert options.seeds == (0, 1, 2) and options.methods[0].name == "none" and options.tasks == ("a", "b")
    assert options.pretrain.lr == 3e-4 and options.pretrain.batch_size is None and options.loader.strict is True
    assert options.transfer.strengths == (1.0, 10.0) and options.encoder.options.width == 32


def test_options_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Run.of().options.pretrain.steps = 3  # type: ignore[misc]


@pytest.mark.parametrize("names", [["sensor"], ("none", "rq"), ("null",), ["null"], ["a,b"], []])
def test_a_list_of_names_is_written_as_one_types_it_and_read_as_it_was(names: Any) -> None:
    (word,) = to_words({"tasks": names})
    assert parse([word])["tasks"] == list(names)
    assert ("[" in word) == (list(names) in (["null"], ["a,b"], []))


@given(
    st.dictionaries(
        st.sampled_from(["pretrain.steps", "pretrain.lr", "loader.strict", "seeds", "data", "out", "tasks", "x"]),
        st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.lists(st.text())),
    )
)
def test_words_say_what_was_given(given_options: dict[str, Any]) -> None:
    """Whatever the values: what `to_words` writes, `parse` reads as the same text."""
    readable = {
        key: str(value) if key in PATH_OPTIONS and value is not None else value for key, value in given_options.items()
    }
    again = parse(to_words(readable))
    for key, value in readable.items():
        if key in PATH_OPTIONS:
            assert again[key] == (None if value in ("", "null", None) else value)
        elif isinstance(value, list):
            assert again[key] == value
        elif value is not None and key not in ("seeds", "tasks"):
            text = str(value).lower() if isinstance(value, bool) else str(value)
            assert again[key] == text or again[key] == text.strip()


# ---- variants ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "checkpoint", "result"),
    [
        ("method.bins=4", True, True),
        ("encoder.width=32", True, True),
        ("pretrain.steps=7", True, True),
        ("pretrain.max_examples=7", True, True),
        ("trainer.precision=16-mixed", True, True),
        ("trainer.matmul=high", True, True),
        ("loader.jpeg=scaled", True, True),
        ("transfer.max_examples=7", False, True),
        ("transfer.strengths=[1]", False, True),
        ("transfer.probe=adamw", False, True),
    ],
)
def test_only_what_changes_the_numbers_makes_another_variant(word: str, checkpoint: bool, result: bool) -> None:
    assert variants(word) == (checkpoint, result)


def test_where_how_and_how_often_make_no_other_variant() -> None:
    places = ["runs=elsewhere", "out=elsewhere", "seeds=[0,1]", "tasks=[pamap2]", "methods=[rq]", "domain=sensor"]
    computing = ["loader.workers=2", "trainer.progress=false", "pretrain.checkpoint_every=7"]
    said_anyway = ["method.bins=8", "encoder.width=64", "protocol.probe=lbfgs"]
    assert variants(*places, *computing, *said_anyway) == (False, False)
    assert variants("protocol=published", "method=emix", "protocol.emix_weighting=batch_mean") == (False, False)


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_a_protocol_option_makes_another_variant_of_what_it_acts_on(option: dataclasses.Field[object]) -> None:
    default = getattr(load_protocol("corrected"), option.name)
    other = option.metadata["published"]
    method = "method=" + (option.metadata["methods"] or ("none",))[0]
    of_checkpoint = option.metadata["stage"] in ("pretraining", "data")
    assert other != default and variants(method, EVERY_DOMAIN, f"protocol.{option.name}={other}") == (
        of_checkpoint,
        True,
    )


def test_a_variant_is_named_by_its_options_not_by_how_they_are_given() -> None:
    def name(composed: Composed) -> str:
        return composed.variant(of_pretraining=False)

    both = name(compose(["method.bins=4", "encoder.width=32"]))
    assert (
        both
        == name(compose(["encoder.width=32", "seeds=[1]", "method.bins=4"]))
        == name(compose(["encoder.width=32", "method.bins=4", "pretrain.steps=40"]))
    )
    assert len({both, name(compose(["method.bins=4"])), name(compose(["method.bins=5"])), "default"}) == 4


def test_minus_zero_is_zero() -> None:
    zero, minus = (compose([f"pretrain.weight_decay={text}"]) for text in ("0", "-0.0"))
    assert zero.variant(of_pretraining=True) == minus.variant(of_pretraining=True)


def test_another_method_keeps_all_but_the_options_of_the_old_one() -> None:
    run = Run.of(["domain=sensor", "method=rq", "method.bins=4", "pretrain.steps=7", "out=a=b"])
    other = run.replace(method="emix")
    assert other.method.name == "emix" and other.options.pretrain.steps == 7 and other.options.out == Path("a=b")
    assert set(other.composed.overridden) == {"pretrain.steps", "out"}
    assert run.replace(domain="images").method.options.bins == 4
    assert run.replace(domain="images").domain.name == "images"
    assert run.replace({"method.bins": 6}).method.options.bins == 6
    with pytest.raises(OptionError, match=r"unknown option 'method\.bin'"):
        run.replace({"method.bin": 6})


def test_a_method_option_goes_to_every_chosen_method_that_has_it() -> None:
    methods = {one.name: one.options for one in Run.of(["method.temperature=0.5", "method.bins=4"]).options.methods}
    assert methods["emix"].temperature == methods["rq"].temperature == 0.5 and methods["rq"].bins == 4


def test_a_command_of_one_method_takes_the_options_of_that_method_only() -> None:
    run = Run.of(["domain=sensor", "pretrain.steps=7"])
    assert run.of_one_method().values == Run.of(["domain=sensor", "method=rq", "pretrain.steps=7"]).values
    for word in ("method.weighting=batch_mean", "protocol.emix_weighting=batch_mean"):
        with pytest.raises(OptionError, match=re.escape(f"{word.partition('=')[0]} belongs to method emix")):
            Run.of(["domain=sensor", word]).of_one_method()


def test_a_run_survives_pickling_and_its_own_words() -> None:
    run = Run.of(["domain=sensor", "method=emix", "seeds=3,4", "pretrain.steps=7", "data=/tmp", "method.temperature=1"])
    for again in (pickle.loads(pickle.dumps(run)), Run.of(run.words)):
        assert again.options == run.options and again.values == run.values


@pytest.mark.parametrize(
    ("words", "gpu", "chosen"),
    [
        ((), False, 0),
        ((), True, 11),
        (("trainer.devices=4",), True, 2),
        (("trainer.accelerator=cpu",), True, 0),
        (("loader.workers=3",), True, 3),
        (("loader.workers=3",), False, 3),
    ],
)
def test_readers_are_chosen_from_the_processors(
    words: tuple[str, ...], gpu: bool, chosen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(12)), raising=False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    options = compose(["domain=sensor", *words]).options
    assert processes.loader_workers(options) == chosen
    assert ("from 12 processors" in processes.about_workers(options)) == (
        chosen > 0 and "loader.workers=3" not in words
    )
    if "loader.workers=3" not in words and chosen:
        assert processes.loader_workers(options, jobs=100) == 1
