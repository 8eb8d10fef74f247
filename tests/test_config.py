"""Options: what composes, what is refused with which words, and which of them make another variant."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from dabs_rq import registry
from dabs_rq.errors import MissingDataError, OptionError
from dabs_rq.protocol import Protocol
from dabs_rq.run import Run
from dabs_rq.run import options as config
from dabs_rq.run.options import Composed, compose
from dabs_rq.spec import Tokens

OPTIONS = [option for option in dataclasses.fields(Protocol) if option.name != "name"]
SCALES, PROTOCOLS = ("mini", "paper"), ("corrected", "published")


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
    assert (options.scale.name, options.protocol.name, options.method.name) == (scale, protocol, method)
    assert isinstance(options.method, registry.method(method).options)
    assert options.protocol == config.load_protocol(protocol)
    assert options.transfer.probe == options.protocol.probe and options.transfer.features == options.protocol.features
    assert {run.composed.variant(of_pretraining=of) for of in (True, False)} == {"default"}


@pytest.mark.parametrize("domain", registry.domain_names())
def test_every_domain_composes_at_both_scales(domain: str, miniature: Callable[[str], Path]) -> None:
    for scale in SCALES:
        run = Run.of([f"domain={domain}", f"scale={scale}", f"data={miniature(domain)}"])
        declared = registry.domain(domain).inputs[scale]  # type: ignore[index]
        assert run.domain.name == domain
        for spec, own in zip(declared, run.inputs, strict=True):  # a vocabulary is that of the tokenizer that is there
            read = (
                {"vocabulary": own.vocabulary, "pad": own.pad, "unused_ids": own.unused_ids}
                if isinstance(own, Tokens)
                else {}
            )
            assert own == dataclasses.replace(spec, **read)
        assert run.tasks == run.domain.tasks
    first = run.tasks[0].name
    assert [task.name for task in run.of([f"domain={domain}", f"tasks=[{first}]"]).tasks] == [first]


def test_the_defaults_are_the_miniature_scale_the_corrected_protocol_and_rq() -> None:
    options = compose().options
    assert (options.scale.name, options.protocol.name, options.method.name) == ("mini", "corrected", "rq")
    assert options.methods == ["none", "emix", "rq"] and options.seeds == [0] and options.data is None


def test_both_scales_and_both_protocols_give_every_option_themselves() -> None:
    names = {option.name for option in dataclasses.fields(Protocol)}
    found = {name: yaml.safe_load((config.CONFIGS / "protocol" / f"{name}.yaml").read_text()) for name in PROTOCOLS}
    for name, values in found.items():
        assert set(values) == names and values["name"] == name
    for option in OPTIONS:
        both = [values[option.name] for values in found.values()]
        assert both[0] != both[1] and set(both) <= set(option.metadata["values"]), "else it would be no difference"
    budgets = [yaml.safe_load((config.CONFIGS / "scale" / f"{name}.yaml").read_text()) for name in SCALES]
    for group in ("encoder", "pretrain", "transfer"):
        assert set(budgets[0][group]) == set(budgets[1][group])


def read_of_protocol() -> set[str]:
    """Every X in `protocol.X` or `something.protocol.X` of the code outside protocol.py, and in "${protocol.X}"."""
    found: set[str] = set()
    roots = (registry.PACKAGE, registry.PACKAGE.parent / "domains")
    for file in (file for root in roots for file in root.rglob("*.py") if file.name != "protocol.py"):
        text = file.read_text()
        found |= set(re.findall(r"\$\{protocol\.(\w+)\}", text))
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
        ("scale=papr", "unknown scale 'papr'. Did you mean 'paper'? Known: mini, paper."),
        ("protocol=publised", "unknown protocol 'publised'. Did you mean 'published'? Known: corrected, published."),
        ("method=emixx", "unknown method 'emixx'. Did you mean 'emix'? Known: "),
        ("methods=[none,rqq]", "unknown method 'rqq'. Did you mean 'rq'?"),
        ("domains=[sensr]", "unknown domain 'sensr'. Did you mean 'sensor'?"),
        ("seeds=[]", "seeds are different whole numbers from 0 on, such as seeds=[0,1]; got []"),
        ("seeds=[1,1]", "got [1, 1]"),
        ("pretrain.batch_size=0", "pretrain.batch_size is at least 1; got 0"),
        ("transfer.max_examples=-5", "transfer.max_examples is at least 1; got -5"),
        ("scale=paper", "scale=paper needs the real data: give data=/root"),
        ("scale.name=paper", "scale.name follows from the choice: give scale=... instead"),
        ("protocol.name=mine", "protocol.name follows from the choice: give protocol=... instead"),
        ("scale={name:paper}", "unknown scale"),
        ("runs=null", "runs is a folder; got null"),
        ("steps", "expected an option as key=value, such as domain=sensor; got 'steps'"),
        ("~method=3", "expected an option as key=value"),
        ("pretrain.steps=many", "Value 'many' of type 'str' could not be converted to Integer"),
        ("pretrain.steps=1.5", "Value '1.5' of type 'float' could not be converted to Integer"),
        ("encoder.width=null", "field 'encoder.width' is not Optional"),
        ("seeds=3", "seeds"),
        ("loader.strict=perhaps", "Value 'perhaps' is not a valid bool"),
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
    for place in (0, -1):
        chosen = {option.name: option.metadata["values"][place] for option in OPTIONS}
        options = compose([f"protocol.{name}={value}" for name, value in chosen.items()]).options
        assert options.protocol == dataclasses.replace(config.load_protocol("corrected"), **chosen)
    for option in OPTIONS:
        first = option.metadata["values"][0]
        with pytest.raises(ValueError, match=f"protocol.{option.name} is one of {first}, .*; got 'nonsense'"):
            dataclasses.replace(config.load_protocol("corrected"), **{option.name: "nonsense"})


def test_another_tasks_domains_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"give a domain: domain=.*sensor"):
        _ = Run.of().domain
    with pytest.raises(OptionError, match=r"unknown domain 'sensors'. Did you mean 'sensor'\?"):
        _ = Run.of(["domain=sensors"]).domain
    with pytest.raises(OptionError, match=r"unknown task of domain 'sensor' 'pamap'. Did you mean 'pamap2'\?"):
        _ = Run.of(["domain=sensor", "tasks=[pamap]"]).tasks
    with pytest.raises(MissingDataError, match=r"the data root .*/nowhere is no folder"):
        Run.of([f"data={tmp_path / 'nowhere'}"])
    (tmp_path / "file").touch()
    with pytest.raises(MissingDataError, match=r"the data root .*/file is no folder"):
        Run.of([f"data={tmp_path / 'file'}"])
    with pytest.raises(OptionError, match="unknown protocol 'both'"):
        config.load_protocol("both")


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
        given = dict(zip(config.PATHS, PATHS[start:] + PATHS[:start], strict=False))
        if start % 3 == 0:  # every path for some key, every key with many
            composed = compose([f"{key}={path}" for key, path in given.items()])
            assert {key: getattr(composed.options, key) for key in given} == given
            assert {key: composed.values[key] for key in given} == given == composed.overridden
    for nothing in ("", "null"):
        options = compose([f"{key}={nothing}" for key in config.PATHS if key != "runs"]).options
        assert options.data is None and options.out is None and options.checkpoint is None


def test_odd_paths_can_be_used(tmp_path: Path) -> None:
    odd = tmp_path / "a=b, 'c' \"d\" ${e}"
    odd.mkdir()
    run = Run.of([f"data={odd}", f"runs={odd}", f"out={odd}"])
    assert run.root == run.runs == run.results == odd


def test_other_values_are_read_by_their_type() -> None:
    words = ["seeds=[0,1,2]", "methods=[none]", "tasks=[a,b]", "pretrain.lr=3e-4", "pretrain.batch_size=null"]
    options = compose([*words, "transfer.strengths=[1,10]", "encoder={width:32}", "loader.strict=true"]).options
    assert options.seeds == [0, 1, 2] and options.methods == ["none"] and options.tasks == ["a", "b"]
    assert options.pretrain.lr == 3e-4 and options.pretrain.batch_size is None and options.loader.strict is True
    assert options.transfer.strengths == [1.0, 10.0] and options.encoder.width == 32


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
    default = getattr(config.load_protocol("corrected"), option.name)
    other = next(value for value in option.metadata["values"] if value != default)
    of_checkpoint = option.metadata["stage"] in ("pretraining", "data")
    assert variants("method=none", f"protocol.{option.name}={other}") == (of_checkpoint, True)


def test_a_variant_is_named_by_its_options_not_by_how_they_are_given() -> None:
    def name(composed: Composed) -> str:
        return composed.variant(of_pretraining=False)

    both = name(compose(["method.bins=4", "encoder.width=32"]))
    assert (
        both
        == name(compose(["encoder.width=32", "seeds=[1]", "method.bins=4"]))
        == name(compose(["method.bins=4", "encoder={width:32}"]))
    )
    assert len({both, name(compose(["method.bins=4"])), name(compose(["method.bins=5"])), "default"}) == 4


def test_another_method_keeps_all_but_the_options_of_the_old_one() -> None:
    run = Run.of(["domain=sensor", "method.bins=4", "pretrain.steps=7", "out=a=b"])
    other = run.with_method("emix")
    assert other.options.method.name == "emix" and other.options.pretrain.steps == 7 and other.options.out == "a=b"
    assert set(other.composed.overridden) == {"domain", "pretrain.steps", "out"}
    assert run.with_method("rq", "images").options.method.bins == 4
    assert run.with_method("rq", "images").domain.name == "images"
