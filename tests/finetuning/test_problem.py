"""Every problem that a pipeline file can name is declared, and its parts are whole."""

import importlib
import inspect
import typing

import pytest

from finetuning import parts
from finetuning.measures import find_measure
from finetuning.problem import find_problem
from finetuning.roles import METRICS, ROLES, Problem

KINDS = typing.get_args(Problem)
PROTOCOLS = {
    "reading": parts.Reading,
    "checking": parts.Checking,
    "encoding": parts.Encoding,
    "modelling": parts.Modelling,
    "scoring": parts.Scoring,
    "comparing": parts.Comparing,
}


def list_functions(protocol):
    """A protocol's functions by name."""
    return {name: one for name, one in vars(protocol).items() if inspect.isfunction(one)}


@pytest.mark.parametrize("part", PROTOCOLS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_part_has_its_protocols_functions(kind, part):
    """Each with the protocol's parameters, by name and in order."""
    declared = find_problem(kind)
    module = importlib.import_module(declared.parts[part])
    assert getattr(declared, part) is module
    for name, wanted in list_functions(PROTOCOLS[part]).items():
        if name.startswith("_"):
            continue
        expected = [one for one in inspect.signature(wanted).parameters if one != "self"]
        assert list(inspect.signature(getattr(module, name)).parameters) == expected, name


@pytest.mark.parametrize("kind", KINDS)
def test_a_declaration_fits_the_pipeline_file(kind):
    """What stands for a row, and what a served model is not given, are columns that it reads."""
    declared = find_problem(kind)
    assert declared.kind == kind
    assert {*declared.shown, *declared.targets} <= set(ROLES[kind])
    assert declared.has_classes == ("label" in ROLES[kind])
    assert set(declared.judged) <= set(declared.parameters)


@pytest.mark.parametrize("kind", KINDS)
def test_every_metric_of_a_problem_is_known(kind):
    """The gate can decide on each, and the first leads."""
    for name in METRICS[kind]:
        assert find_measure(name).name == name
