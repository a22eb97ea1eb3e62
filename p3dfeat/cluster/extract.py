"""Extraction on this machine, or on a Ray cluster if the settings name one."""

from pathlib import Path

from p3dfeat.errors import UsageError
from p3dfeat.options import ExtractSettings, Inputs, with_options
from p3dfeat.workflows.extract import ExtractSummary
from p3dfeat.workflows.extract import run_extract as run_here


def run_extract(inputs: Inputs, output: str | Path, settings: ExtractSettings) -> ExtractSummary:
    if settings.cluster is None:
        return run_here(inputs, output, settings)
    if settings.precision == "int8":
        raise UsageError("cluster: int8 is calibrated on one machine; leave --precision int8 or --cluster out")
    from p3dfeat.cluster.machinery import RayMachinery

    return run_here(inputs, output, settings, RayMachinery(settings))


run_extract.__doc__ = run_here.__doc__
extract = with_options(ExtractSettings)(run_extract)
