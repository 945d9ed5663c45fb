"""A laboratory for GLoRA and GraLoRA: adapters, measures, figures and panels over one set of layers.

The public names live in the modules below and are imported on first use, so that `import glora_lab` costs
nothing: a figure can be drawn from a saved record without torch, and a model trained without plotly.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0.dev0"

_HOME = {
    "DeltaMethod": "adapters",
    "GloraConfig": "adapters",
    "GloraLayer": "adapters",
    "GloraLinear": "adapters",
    "GloraModel": "adapters",
    "GraloraConfig": "adapters",
    "GraloraLayer": "adapters",
    "GraloraLinear": "adapters",
    "GraloraModel": "adapters",
    "export_peft": "adapters",
    "load_adapter": "adapters",
    "use_in_peft": "adapters",
    "load_model": "models",
    "outlier_layer": "models",
    "load_task": "data",
    "task_from": "data",
    "SearchSpace": "search",
    "follow_study": "search",
    "search_paths": "search",
    "TrainSession": "training",
    "evaluate": "training",
    "fit": "training",
    "predict": "training",
    "write": "training",
    "best_error": "measure",
    "block_cut": "measure",
    "block_detail": "measure",
    "block_grid": "measure",
    "cost_report": "measure",
    "delta_spectrum": "measure",
    "descent": "measure",
    "gradient_report": "measure",
    "localisation": "measure",
    "merge_order": "measure",
    "merge_report": "measure",
    "outliers": "measure",
    "path_activity": "measure",
    "path_budget": "measure",
    "path_picture": "measure",
    "rank_by_k": "measure",
    "rank_for_budget": "measure",
    "rank_reach": "measure",
    "stable_step": "measure",
    "trained_error": "measure",
    "weight_change": "measure",
    "weight_changes": "measure",
    "xray": "measure",
    "plot_block_cut": "figures",
    "plot_block_detail": "figures",
    "plot_block_grid": "figures",
    "plot_cost_report": "figures",
    "plot_delta_spectrum": "figures",
    "plot_descent": "figures",
    "plot_gradient_report": "figures",
    "plot_localisation": "figures",
    "plot_merge_order": "figures",
    "plot_merge_report": "figures",
    "plot_outliers": "figures",
    "plot_path_activity": "figures",
    "plot_path_budget": "figures",
    "plot_path_picture": "figures",
    "plot_predictions": "figures",
    "plot_rank_by_k": "figures",
    "plot_rank_reach": "figures",
    "plot_readings": "figures",
    "plot_real_changes": "figures",
    "plot_real_drift": "figures",
    "plot_real_runs": "figures",
    "plot_runs": "figures",
    "plot_agreement": "figures",
    "plot_importance": "figures",
    "plot_path_map": "figures",
    "plot_search": "figures",
    "plot_stable_step": "figures",
    "plot_training": "figures",
    "plot_weight_changes": "figures",
    "plot_writing": "figures",
    "plot_xray": "figures",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value  # the next use is an ordinary look-up
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
